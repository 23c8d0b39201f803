#include "core/optim/schedule.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "core/base/check.h"

namespace saffron {
namespace {

// u: how far the part after the warm-up is done, in (0, 1].
double Progress(const ScheduleConfig& c, int64_t step) {
  return static_cast<double>(step - c.warmup) / static_cast<double>(c.steps - c.warmup);
}

double Constant(const ScheduleConfig& c, int64_t step) { return 1; }

double Linear(const ScheduleConfig& c, int64_t step) {
  return 1 - (1 - c.final_fraction) * Progress(c, step);
}

double Cosine(const ScheduleConfig& c, int64_t step) {
  const double f = c.final_fraction;
  return f + (1 - f) * 0.5 * (1 + std::cos(std::numbers::pi * Progress(c, step)));
}

double InverseSqrt(const ScheduleConfig& c, int64_t step) {
  const double w =
      static_cast<double>(c.warmup > 0 ? c.warmup : std::max<int64_t>(c.steps / 10, 1));
  return std::sqrt(w / (static_cast<double>(step - c.warmup) + w));
}

// What is left of the rate above its end when the share x of the decay is done.
double Left(DecayShape shape, double x) {
  switch (shape) {
    case DecayShape::kLinear:
      return 1 - x;
    case DecayShape::kCosine:
      return 0.5 * (1 + std::cos(std::numbers::pi * x));
    case DecayShape::kRoot:
      return 1 - std::sqrt(x);
  }
  CHECK(false) << "shape " << static_cast<int>(shape);
  return 0;
}

double WarmupStableDecay(const ScheduleConfig& c, int64_t step) {
  const double decay = c.decay_fraction * static_cast<double>(c.steps);
  const double left = static_cast<double>(c.steps - step);
  const double remaining = c.decay_shape == DecayShape::kLinear
                               ? std::min(1.0, left / decay)
                               : Left(c.decay_shape, std::max(0.0, 1 - left / decay));
  return c.final_fraction + (1 - c.final_fraction) * remaining;
}

struct Entry {
  const char* name;
  double (*shape)(const ScheduleConfig& config, int64_t step);
};
constexpr Entry kSchedules[] = {
    {"constant", &Constant}, {"cosine", &Cosine},         {"inverse_sqrt", &InverseSqrt},
    {"linear", &Linear},     {"wsd", &WarmupStableDecay},
};

}  // namespace

absl::StatusOr<Schedule> Schedule::Make(const std::string& name, const ScheduleConfig& c) {
  if (c.steps < 1) {
    return absl::InvalidArgumentError(absl::StrCat("schedule steps: want >= 1, got ", c.steps));
  }
  if (c.warmup < 0 || c.warmup > c.steps) {
    return absl::InvalidArgumentError(
        absl::StrCat("schedule warm-up: want in [0, ", c.steps, "] steps, got ", c.warmup));
  }
  if (!(c.final_fraction >= 0 && c.final_fraction <= 1)) {
    return absl::InvalidArgumentError(
        absl::StrCat("schedule final fraction: want in [0, 1], got ", c.final_fraction));
  }
  if (!(c.decay_fraction > 0 && c.decay_fraction <= 1)) {
    return absl::InvalidArgumentError(
        absl::StrCat("schedule decay fraction: want in (0, 1], got ", c.decay_fraction));
  }
  for (const Entry& entry : kSchedules) {
    if (name == entry.name) return Schedule(c, entry.shape);
  }
  return absl::InvalidArgumentError(absl::StrCat("unknown schedule \"", name, "\": want one of ",
                                                 absl::StrJoin(ScheduleNames(), ", ")));
}

double Schedule::Factor(int64_t step) const {
  CHECK(step >= 1 && step <= config_.steps) << "step " << step << " of " << config_.steps;
  if (step <= config_.warmup) {
    return static_cast<double>(step) / static_cast<double>(config_.warmup);
  }
  return shape_(config_, step);
}

std::vector<std::string> ScheduleNames() {
  std::vector<std::string> names;
  for (const Entry& entry : kSchedules) names.emplace_back(entry.name);
  return names;
}

}  // namespace saffron
