#include "core/optim/optimizer.h"

#include <cmath>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "core/base/check.h"
#include "core/base/status_macros.h"
#include "core/optim/optimizer_table.h"

namespace saffron {
namespace {

template <typename T>
struct Entry {
  const char* name;
  std::unique_ptr<Optimizer<T>> (*make)(const OptimizerConfig& config);
};

template <typename T>
constexpr Entry<T> kOptimizers[] = {
    {"adafactor", &MakeAdafactor<T>}, {"adam", &MakeAdam<T>}, {"adamw", &MakeAdamW<T>},
    {"muon", &MakeMuon<T>},           {"sgd", &MakeSgd<T>},
};

// `value` must satisfy `ok`; the error says what is wanted.
absl::Status CheckSetting(const char* setting, double value, bool ok, const char* want) {
  if (ok && std::isfinite(value)) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("optimiser setting ", setting, ": want ", want, ", got ", value));
}

absl::Status CheckConfig(const OptimizerConfig& c) {
  RETURN_IF_ERROR(
      CheckSetting("momentum", c.momentum, c.momentum >= 0 && c.momentum < 1, "in [0, 1)"));
  RETURN_IF_ERROR(CheckSetting("beta1", c.beta1, c.beta1 >= 0 && c.beta1 < 1, "in [0, 1)"));
  RETURN_IF_ERROR(CheckSetting("beta2", c.beta2, c.beta2 >= 0 && c.beta2 < 1, "in [0, 1)"));
  RETURN_IF_ERROR(CheckSetting("epsilon", c.epsilon, c.epsilon > 0, "> 0"));
  RETURN_IF_ERROR(CheckSetting("weight_decay", c.weight_decay, c.weight_decay >= 0, ">= 0"));
  RETURN_IF_ERROR(CheckSetting("l2", c.l2, c.l2 >= 0, ">= 0"));
  RETURN_IF_ERROR(CheckSetting("update_clip", c.update_clip, c.update_clip > 0, "> 0"));
  RETURN_IF_ERROR(CheckSetting("factored_min", static_cast<double>(c.factored_min),
                               c.factored_min >= 2, ">= 2"));
  RETURN_IF_ERROR(CheckSetting("update_momentum", c.update_momentum,
                               c.update_momentum >= 0 && c.update_momentum < 1, "in [0, 1)"));
  RETURN_IF_ERROR(CheckSetting("square_exponent", c.square_exponent,
                               c.square_exponent > 0 && c.square_exponent <= 1, "in (0, 1]"));
  RETURN_IF_ERROR(CheckSetting("muon_momentum", c.muon_momentum,
                               c.muon_momentum >= 0 && c.muon_momentum < 1, "in [0, 1)"));
  return CheckSetting("muon_rate", c.muon_rate, c.muon_rate > 0, "> 0");
}

}  // namespace

template <typename T>
absl::Status Optimizer<T>::Prepare(const ParameterArena<T>& arena) {
  CHECK(parameters_ < 0) << "prepared twice";
  RETURN_IF_ERROR(Allocate(arena));
  parameters_ = static_cast<int64_t>(arena.parameters().size());
  return absl::OkStatus();
}

template <typename T>
void Optimizer<T>::Step(ParameterArena<T>& arena, double lr) {
  CHECK(parameters_ == static_cast<int64_t>(arena.parameters().size()))
      << "prepared for " << parameters_ << " parameters, got " << arena.parameters().size();
  CHECK(std::isfinite(lr) && lr >= 0) << "learning rate " << lr;
  Update(arena, ++steps_, lr);
}

template <typename T>
absl::StatusOr<std::unique_ptr<Optimizer<T>>> MakeOptimizer(const std::string& name,
                                                            const OptimizerConfig& config) {
  RETURN_IF_ERROR(CheckConfig(config));
  for (const Entry<T>& entry : kOptimizers<T>) {
    if (name == entry.name) return entry.make(config);
  }
  return absl::InvalidArgumentError(absl::StrCat("unknown optimiser \"", name, "\": want one of ",
                                                 absl::StrJoin(OptimizerNames(), ", ")));
}

std::vector<std::string> OptimizerNames() {
  std::vector<std::string> names;
  for (const Entry<float>& entry : kOptimizers<float>) names.emplace_back(entry.name);
  return names;
}

template <typename T>
double GlobalNorm(const ParameterArena<T>& arena) {
  // Eight sums side by side, for speed: their order is fixed, so the norm's bits are.
  constexpr int kSums = 8;
  double sum[kSums] = {};
  for (const ParameterSegment<T>& segment : arena.segments()) {
    if (segment.gradient == nullptr) continue;
    for (int64_t i = 0; i < segment.size; ++i) {
      const double g = segment.gradient[i];
      sum[i % kSums] += g * g;
    }
  }
  double total = 0;
  for (const double s : sum) total += s;
  return std::sqrt(total);
}

template <typename T>
double ClipGlobalNorm(ParameterArena<T>& arena, double norm_max) {
  CHECK(norm_max > 0) << "norm_max " << norm_max;
  const double norm = GlobalNorm(arena);
  const double scale = norm_max / (norm + 1e-6);
  if (!(scale < 1)) return norm;
  for (const ParameterSegment<T>& segment : arena.segments()) {
    if (segment.gradient == nullptr) continue;
    for (int64_t i = 0; i < segment.size; ++i) segment.gradient[i] *= static_cast<T>(scale);
  }
  return norm;
}

template class Optimizer<float>;
template class Optimizer<double>;
template absl::StatusOr<std::unique_ptr<Optimizer<float>>> MakeOptimizer<float>(
    const std::string&, const OptimizerConfig&);
template absl::StatusOr<std::unique_ptr<Optimizer<double>>> MakeOptimizer<double>(
    const std::string&, const OptimizerConfig&);
template double GlobalNorm<float>(const ParameterArena<float>&);
template double GlobalNorm<double>(const ParameterArena<double>&);
template double ClipGlobalNorm<float>(ParameterArena<float>&, double);
template double ClipGlobalNorm<double>(ParameterArena<double>&, double);

}  // namespace saffron
