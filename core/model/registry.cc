#include "core/model/registry.h"

#include <algorithm>
#include <limits>
#include <numeric>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "core/base/check.h"
#include "core/model/edit_distance.h"
#include "core/model/registry_families.h"
#include "core/model/registry_table.h"

namespace saffron {
namespace {

bool Holds(const Condition& condition, const ParamValue& value) {
  if (condition.at_least.has_value()) {
    const auto* whole = std::get_if<int64_t>(&value);
    return (whole != nullptr ? static_cast<double>(*whole) : std::get<double>(value)) >=
           *condition.at_least;
  }
  const auto& text = std::get<std::string>(value);
  return std::find(condition.any_of.begin(), condition.any_of.end(), text) !=
         condition.any_of.end();
}

// "a", "a or b", "a, b or c".
std::string JoinWithOr(const std::vector<std::string>& names) {
  if (names.size() < 2) return absl::StrJoin(names, "");
  return absl::StrCat(absl::StrJoin(names.begin(), names.end() - 1, ", "), " or ", names.back());
}

std::string_view AfterLastDot(std::string_view key) { return key.substr(key.rfind('.') + 1); }

}  // namespace

std::string_view ParamTypeName(ParamType type) {
  switch (type) {
    case ParamType::kBool:
      return "boolean";
    case ParamType::kInt:
      return "integer";
    case ParamType::kDouble:
      return "number";
    case ParamType::kString:
      return "string";
  }
  CHECK(false) << "type " << static_cast<int>(type);
  return "";
}

std::string ParamSpec::RelevanceText() const {
  std::vector<std::string> parts;
  for (const Condition& condition : relevant_when) {
    parts.push_back(condition.at_least.has_value()
                        ? absl::StrCat(condition.key, " is at least ", *condition.at_least)
                        : absl::StrCat(condition.key, " is ", JoinWithOr(condition.any_of)));
  }
  return absl::StrJoin(parts, " and ");
}

RegistryTable::RegistryTable() {
  for (const auto& family : {DataParams(), ModelTypeParams(), SaffuParams(), TransformerParams(),
                             ReferenceParams(), LogLinearParams(), SolveParams(), TrainParams()}) {
    params_.insert(params_.end(), family.begin(), family.end());
  }
  for (size_t i = 0; i < params_.size(); ++i) {
    CHECK(index_.emplace(params_[i].key, static_cast<int>(i)).second)
        << params_[i].key << " is registered twice";
  }
  by_key_.resize(params_.size());
  std::iota(by_key_.begin(), by_key_.end(), 0);
  std::sort(by_key_.begin(), by_key_.end(),
            [this](int a, int b) { return params_[a].key < params_[b].key; });
  conditions_.resize(params_.size());
  for (size_t i = 0; i < params_.size(); ++i) {
    for (const Condition& condition : params_[i].relevant_when) {
      const int on = IndexOf(condition.key);
      CHECK(on >= 0) << params_[i].key << " depends on unknown " << condition.key;
      conditions_[i].push_back({on, &condition});
    }
  }
  std::vector<int> state(params_.size(), 0);
  for (size_t i = 0; i < params_.size(); ++i) Order(static_cast<int>(i), state);
}

void RegistryTable::Order(int index, std::vector<int>& state) {
  if (state[index] == 2) return;
  CHECK(state[index] == 0) << "relevance of " << params_[index].key << " depends on itself";
  state[index] = 1;
  for (const CompiledCondition& c : conditions_[index]) Order(c.index, state);
  state[index] = 2;
  order_.push_back(index);
}

const RegistryTable& RegistryTable::Get() {
  static const auto* const table = new RegistryTable;
  return *table;
}

int RegistryTable::IndexOf(std::string_view key) const {
  const auto found = index_.find(key);
  return found == index_.end() ? -1 : found->second;
}

std::vector<bool> RegistryTable::DropIrrelevant(std::vector<const ParamValue*>& values) const {
  std::vector<bool> relevant(params_.size());
  for (int i : order_) {
    relevant[i] = std::all_of(
        conditions_[i].begin(), conditions_[i].end(),
        [&](const CompiledCondition& c) { return Holds(*c.condition, *values[c.index]); });
    if (!relevant[i]) values[i] = &params_[i].default_value;
  }
  return relevant;
}

const std::vector<ParamSpec>& AllParams() { return RegistryTable::Get().params(); }

const ParamSpec* FindParam(std::string_view key) {
  const RegistryTable& table = RegistryTable::Get();
  const int index = table.IndexOf(key);
  return index < 0 ? nullptr : &table.params()[index];
}

std::string NearestName(std::string_view name, const std::vector<std::string>& candidates) {
  std::string nearest;
  int least = std::numeric_limits<int>::max();
  for (const std::string& candidate : candidates) {
    const int distance = EditDistance(name, candidate);
    // A third of the letters wrong is a typo; more is another word.
    const int cutoff = static_cast<int>(std::max(name.size(), candidate.size())) / 3;
    if (distance <= cutoff && distance < least) {
      least = distance;
      nearest = candidate;
    }
  }
  return nearest;
}

std::string NearestParam(std::string_view key) {
  for (const ParamSpec& spec : AllParams()) {
    if (AfterLastDot(spec.key) == AfterLastDot(key)) return spec.key;
  }
  std::vector<std::string> keys, ends;
  for (const ParamSpec& spec : AllParams()) {
    keys.push_back(spec.key);
    ends.emplace_back(AfterLastDot(spec.key));
  }
  if (std::string near = NearestName(key, keys); !near.empty()) return near;
  const std::string end = NearestName(AfterLastDot(key), ends);
  return end.empty() ? "" : keys[std::find(ends.begin(), ends.end(), end) - ends.begin()];
}

}  // namespace saffron
