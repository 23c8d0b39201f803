// One axis of a block: a parameter's values or distribution, or the changes of an ablation.

#include <algorithm>
#include <cmath>
#include <map>
#include <set>
#include <tuple>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "coordinator/sweep/sweep_limits.h"
#include "coordinator/sweep/sweep_plan.h"

namespace saffron {
namespace {

constexpr int kAblationGroupsMax = 200;

std::string Word(v1::Parameter::Distribution kind) {
  if (kind == v1::Parameter::DISTRIBUTION_UNSPECIFIED) return "a range";
  return absl::AsciiStrToLower(v1::Parameter::Distribution_Name(kind));
}

class DistributionPlanner {
 public:
  DistributionPlanner(const v1::Parameter& parameter, const ParamSpec& key, bool random,
                      const Constants& constants, Problems& problems)
      : parameter_(parameter),
        key_(key),
        random_(random),
        values_(constants, problems),
        problems_(problems) {
    plan_.kind = parameter.distribution();
    plan_.key = &key;
    plan_.count = parameter.count();
  }

  std::optional<Distribution> Plan() {
    if (!CheckKind() || !CheckWhatIsSet()) return std::nullopt;
    const bool read = IsNormal(plan_.kind) ? ReadNormal() : ReadRange();
    if (!read || !ReadQuantum() || !CheckGrid()) return std::nullopt;
    return plan_;
  }

 private:
  bool Fail(const v1::Position& position, std::string_view part, std::string_view what) {
    problems_.Add(position,
                  part.empty() ? key_.key : absl::StrCat(key_.key, ".", std::string(part)), what);
    return false;
  }
  bool Fail(std::string_view what) { return Fail(parameter_.position(), "", what); }

  bool CheckKind() {
    if (!v1::Parameter::Distribution_IsValid(plan_.kind)) {
      return Fail(absl::StrCat("want a known distribution, got number ", plan_.kind));
    }
    if (key_.type == ParamType::kBool || key_.type == ParamType::kString) {
      return Fail(absl::StrCat("want values for a ", std::string(ParamTypeName(key_.type)),
                               " key, got a distribution of numbers"));
    }
    return true;
  }

  bool CheckWhatIsSet() {
    const bool normal = IsNormal(plan_.kind);
    const bool quantized = IsQuantized(plan_.kind);
    const std::tuple<const char*, bool, bool, bool> parts[] = {
        // name, set, needed, allowed
        {"min", parameter_.has_min(), !normal, !normal},
        {"max", parameter_.has_max(), !normal, !normal},
        {"q", parameter_.has_q(), quantized, quantized},
        {"mu", parameter_.has_mu(), false, normal},
        {"sigma", parameter_.has_sigma(), false, normal}};
    for (const auto& [name, set, needed, allowed] : parts) {
      if (set && !allowed) {
        return Fail(absl::StrCat("want no ", name, " with ", Word(plan_.kind), ", got one"));
      }
      if (!set && needed)
        return Fail(absl::StrCat("want ", name, " for ", Word(plan_.kind), ", got none"));
    }
    return true;
  }

  bool ReadNormal() {
    const auto mu = parameter_.has_mu() ? values_.Number(key_.key + ".mu", parameter_.mu()) : 0;
    const auto sigma =
        parameter_.has_sigma() ? values_.Number(key_.key + ".sigma", parameter_.sigma()) : 1;
    if (!mu.has_value() || !sigma.has_value()) return false;
    plan_.mu = *mu;
    plan_.sigma = *sigma;
    if (plan_.sigma > 0) return true;
    return Fail(parameter_.sigma().position(), "sigma",
                absl::StrCat("want a number above 0, got ", ParamValueText(plan_.sigma)));
  }

  bool ReadRange() {
    const auto min = values_.Number(key_.key + ".min", parameter_.min());
    const auto max = values_.Number(key_.key + ".max", parameter_.max());
    if (!min.has_value() || !max.has_value()) return false;
    plan_.min = *min;
    plan_.max = *max;
    if (plan_.max < plan_.min) {
      return Fail(parameter_.max().position(), "max",
                  absl::StrCat("want at least min (", ParamValueText(plan_.min), "), got ",
                               ParamValueText(plan_.max)));
    }
    return CheckEnd("min", parameter_.min(), plan_.min) &&
           CheckEnd("max", parameter_.max(), plan_.max);
  }

  // Both ends must be values that the key may have.
  bool CheckEnd(std::string_view part, const v1::SweepValue& written, double end) {
    if (IsLogarithmic(plan_.kind) && end <= 0) {
      return Fail(written.position(), part,
                  absl::StrCat("want a number above 0 for ", Word(plan_.kind), ", got ",
                               ParamValueText(end)));
    }
    if (plan_.kind == v1::Parameter::INT_UNIFORM &&
        (end != std::floor(end) || std::abs(end) > 0x1p53)) {
      return Fail(written.position(), part,
                  absl::StrCat("want an integer for int_uniform, got ", ParamValueText(end)));
    }
    if (IsQuantized(plan_.kind)) return true;  // the multiples of q are checked instead
    double value = IsExponent(plan_.kind) ? std::exp(end) : end;
    if (IsExponent(plan_.kind) && key_.type == ParamType::kInt) value = std::round(value);
    const auto fitting = FitToKey(key_, value, false);
    return fitting.ok() || Fail(written.position(), part, std::string(fitting.status().message()));
  }

  bool ReadQuantum() {
    if (!IsQuantized(plan_.kind)) return true;
    const auto q = values_.Number(key_.key + ".q", parameter_.q());
    if (!q.has_value()) return false;
    plan_.q = *q;
    const bool whole = key_.type != ParamType::kInt || plan_.q == std::floor(plan_.q);
    if (!(plan_.q > 0) || !whole) {
      return Fail(parameter_.q().position(), "q",
                  absl::StrCat("want ", key_.type == ParamType::kInt ? "an integer" : "a number",
                               " above 0, got ", ParamValueText(plan_.q)));
    }
    if (IsNormal(plan_.kind)) return true;
    const double low = IsExponent(plan_.kind) ? std::exp(plan_.min) : plan_.min;
    const double high = IsExponent(plan_.kind) ? std::exp(plan_.max) : plan_.max;
    if (std::ceil(low / plan_.q) > std::floor(high / plan_.q)) {
      return Fail(parameter_.q().position(), "q",
                  absl::StrCat("want a multiple of q between min and max, got none of ",
                               ParamValueText(plan_.q)));
    }
    // All multiples lie between the first and the last, and so in the key's range.
    for (const double steps : {std::ceil(low / plan_.q), std::floor(high / plan_.q)}) {
      const auto fitting = FitToKey(key_, steps * plan_.q, false);
      if (!fitting.ok()) return Fail(std::string(fitting.status().message()));
    }
    return true;
  }

  bool CheckGrid() {
    if (random_) {
      if (plan_.count == 0) return true;
      return Fail(
          "want no count in a random block, whose own count says how many to draw, got one");
    }
    if (plan_.count < 0 || plan_.count > kCountMax) {
      return Fail(absl::StrCat("want count in [1, ", kCountMax, "], got ", plan_.count));
    }
    if (IsNormal(plan_.kind)) {
      return Fail(absl::StrCat("want method: random for ", Word(plan_.kind), ", got a grid"));
    }
    if (plan_.GridSize() > 0) return true;
    return Fail(absl::StrCat("want count (the points of a grid) or method: random with ",
                             Word(plan_.kind), ", got neither"));
  }

  const v1::Parameter& parameter_;
  const ParamSpec& key_;
  bool random_;
  ValuePlanner values_;
  Problems& problems_;
  Distribution plan_;
};

void PlanProbabilities(const v1::Parameter& parameter, bool random, PlannedAxis* axis,
                       Problems& problems) {
  if (parameter.probabilities().empty()) return;
  const auto fail = [&](std::string_view what) {
    problems.Add(parameter.position(), parameter.key() + ".probabilities", what);
  };
  if (!random) return fail("want method: random with probabilities, got a grid");
  if (parameter.probabilities_size() != parameter.values_size()) {
    return fail(absl::StrCat("want as many as values (", parameter.values_size(), "), got ",
                             parameter.probabilities_size()));
  }
  double sum = 0;
  for (double p : parameter.probabilities()) {
    if (!(p >= 0) || !std::isfinite(p))
      return fail(absl::StrCat("want numbers of at least 0, got ", p));
    axis->cumulative.push_back(sum += p);
  }
  if (!(sum > 0) || !std::isfinite(sum)) fail(absl::StrCat("want a positive sum, got ", sum));
}

// The groups changed in each choice, by index.
std::vector<std::vector<int>> AblationChoices(v1::Ablation::Mode mode, int groups) {
  std::vector<std::vector<int>> choices;
  std::vector<int> all;
  for (int g = 0; g < groups; ++g) all.push_back(g);
  switch (mode) {
    case v1::Ablation::ADD_ONE_IN:
      choices.push_back(all);
      for (int g = 0; g < groups; ++g) {
        choices.push_back(all);
        choices.back().erase(choices.back().begin() + g);
      }
      break;
    case v1::Ablation::CUMULATIVE:
      for (int g = 1; g <= groups; ++g) choices.emplace_back(all.begin(), all.begin() + g);
      break;
    default:
      for (int g = 0; g < groups; ++g) choices.push_back({g});
      if (mode != v1::Ablation::PAIRWISE) break;
      for (int a = 0; a < groups; ++a) {
        for (int b = a + 1; b < groups; ++b) choices.push_back({a, b});
      }
  }
  return choices;
}

}  // namespace

int64_t PlannedAxis::size() const {
  if (distribution.has_value()) return distribution->GridSize();
  return keys.empty() ? 0 : static_cast<int64_t>(values.size() / keys.size());
}

PlannedAxis PlanParameter(const v1::Parameter& parameter, const ParamSpec& key, bool random,
                          const Constants& constants, Problems& problems) {
  PlannedAxis axis{.name = key.key, .place = PlaceOf(parameter.position()), .keys = {&key}};
  const bool distributed = parameter.distribution() != v1::Parameter::DISTRIBUTION_UNSPECIFIED ||
                           parameter.has_min() || parameter.has_max() || parameter.has_q() ||
                           parameter.has_mu() || parameter.has_sigma() || parameter.count() != 0;
  if (distributed && !parameter.values().empty()) {
    problems.Add(parameter.position(), key.key, "want values or a distribution, got both");
  } else if (distributed) {
    axis.distribution = DistributionPlanner(parameter, key, random, constants, problems).Plan();
  } else if (parameter.values().empty()) {
    problems.Add(parameter.position(), key.key,
                 "want value, values, or min and max, got none of them");
  }
  ValuePlanner values(constants, problems);
  for (const v1::SweepValue& value : parameter.values()) {
    axis.values.push_back({values.Value(key, value), PlaceOf(value.position())});
    if (problems.full()) break;
  }
  PlanProbabilities(parameter, random, &axis, problems);
  return axis;
}

PlannedAxis PlanAblation(const v1::Ablation& ablation, const Constants& constants,
                         Problems& problems) {
  PlannedAxis axis{.name = "ablate", .place = PlaceOf(ablation.position())};
  const auto fail = [&](std::string_view what) {
    problems.Add(ablation.position(), "ablate", what);
  };
  const int needed = ablation.mode() == v1::Ablation::PAIRWISE ? 2 : 1;
  const int count = ablation.groups_size();
  if (!v1::Ablation::Mode_IsValid(ablation.mode())) fail("want a known mode, got another");
  if (count < needed || count > kAblationGroupsMax) {
    fail(absl::StrCat("want ", needed, " to ", kAblationGroupsMax, " groups, got ", count));
    return axis;
  }
  // Where groups are undone or combined, two that set one key would hide each other.
  const bool combines =
      ablation.mode() == v1::Ablation::PAIRWISE || ablation.mode() == v1::Ablation::ADD_ONE_IN;
  std::set<std::string> names;
  std::map<std::string, std::string> owner;  // key -> first group that changes it
  std::vector<std::vector<PlannedSetting>> changes;
  for (const v1::AblationGroup& group : ablation.groups()) {
    if (group.name().empty() || group.name().size() > kNameBytesMax ||
        !names.insert(group.name()).second) {
      problems.Add(group.position(), group.name(),
                   "want a name of its own for each group, got none, a long one or one again");
    }
    if (group.changes().empty()) {
      problems.Add(group.position(), group.name(), "want at least one change, got none");
    }
    changes.push_back(ValuePlanner(constants, problems).Settings(group.changes()));
    for (const PlannedSetting& change : changes.back()) {
      const auto [entry, first] = owner.emplace(change.key->key, group.name());
      if (first) axis.keys.push_back(change.key);
      if (!first && combines) {
        problems.Add(change.place, change.key->key,
                     absl::StrCat("want each key in one group in this mode, got it in ",
                                  entry->second, " and in ", group.name()));
      }
    }
  }
  for (const std::vector<int>& choice : AblationChoices(ablation.mode(), count)) {
    std::vector<PlannedValue> row(axis.keys.size());
    std::vector<std::string> changed;
    for (int g : choice) {
      changed.push_back(ablation.groups(g).name());
      for (const PlannedSetting& change : changes[g]) {
        const auto key = std::find(axis.keys.begin(), axis.keys.end(), change.key);
        row[key - axis.keys.begin()] = {change.value, change.place};
      }
    }
    axis.values.insert(axis.values.end(), row.begin(), row.end());
    axis.groups.push_back(absl::StrJoin(changed, "+"));
  }
  return axis;
}

}  // namespace saffron
