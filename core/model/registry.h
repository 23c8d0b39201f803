#pragma once
// The one list of everything a sweep file may set: each key's type, unit, range, default, meaning
// and when it is relevant. The sweep reader checks against it, the trainer reads through it, and
// the README's reference tables are printed from it.

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/model/variant.h"

namespace saffron {

enum class ParamType { kBool, kInt, kDouble, kString };
std::string_view ParamTypeName(ParamType type);  // "boolean", "integer", "number", "string"

// Part of a key's relevance: the key `key` has one of the values `any_of`, or is at least
// `at_least`. A key that is itself irrelevant counts as having its default.
struct Condition {
  std::string key;
  std::vector<std::string> any_of = {};
  std::optional<double> at_least = {};
};

// The values of all registered keys while a variant is resolved: what was given where that is
// relevant, else the default.
class ParamView {
 public:
  virtual ~ParamView() = default;
  // CHECK-fails when `key` is not registered.
  virtual const ParamValue& operator[](std::string_view key) const = 0;
  int64_t Int(std::string_view key) const { return std::get<int64_t>((*this)[key]); }
  double Double(std::string_view key) const { return std::get<double>((*this)[key]); }
  const std::string& String(std::string_view key) const {
    return std::get<std::string>((*this)[key]);
  }
};

struct ParamSpec {
  std::string key;  // "model.bits"
  ParamType type = ParamType::kInt;
  ParamValue default_value = {};
  std::string unit = {};                     // "tokens", "steps"; empty when dimensionless
  std::string doc = {};                      // one or two sentences
  std::optional<double> min = {}, max = {};  // inclusive unless the flags say otherwise
  bool min_exclusive = false, max_exclusive = false;
  std::vector<std::string> choices = {};  // for strings: the whole list; empty = see `validate`
  // Of an integer key: another key, of which this one may have a list, a number for each ("256,512"
  // where it is 2), instead of one for all. As a string; where all are the same, the number.
  std::string one_for_each = {};
  // Extra check of a value that is already of the right type and range; null = none.
  // Returns what is wanted ("want a name of letters and digits"), or an empty string.
  std::function<std::string(const ParamValue&)> validate = {};
  // Extra check against other keys, asked only where this key is relevant; null = none. Returns as
  // `validate` does.
  std::function<std::string(const ParamView&)> consistent = {};
  // Says how a variant is measured rather than what it is: left out of labels and descriptions
  // where anything else tells variants apart.
  bool about_measuring = false;
  // The key can matter where all of these hold; empty = always. Pure data, so that the reference
  // table can say it in words and the same rule decides it.
  std::vector<Condition> relevant_when = {};
  std::string RelevanceText() const;  // "model.type is saffu or softmax_regression"; "" when always
};

// Every registered key, in the order of the reference table.
const std::vector<ParamSpec>& AllParams();
// nullptr when there is none.
const ParamSpec* FindParam(std::string_view key);
// The registered key (or entry of `candidates`) at the least edit distance, or "" when none is near
// enough to be a likely typo. A key is also near when only the part before its last dot is wrong or
// missing: "lr" and "optimizer.lr" are near "train.lr".
std::string NearestParam(std::string_view key);
std::string NearestName(std::string_view name, const std::vector<std::string>& candidates);

// `given` as a value of `spec`: converted to its type where it has an equal value of it, and of the
// key's range, choices and form. INVALID_ARGUMENT as ResolvedVariant::Resolve, "KEY: want …, got
// …". What depends on other keys (ParamSpec::consistent) is not looked at.
absl::StatusOr<ParamValue> CheckedParam(const ParamSpec& spec, const ParamValue& given);

// Keys of final metrics that a trial of this variant reports ("test/perplexity", ...), so that a
// roadmap whose metric nobody reports is refused before it runs.
std::vector<std::string> ReportedMetrics(const ResolvedVariant& variant);
// Static description of every metric key: key, unit, meaning, deterministic or not. A key ending in
// '*' stands for a family: "solve/gain/*" for "solve/gain/x1".
struct MetricSpec {
  std::string key, unit, doc;
  bool deterministic;  // false for time/*, memory/*, cache/*: left out when results are compared
};
const std::vector<MetricSpec>& AllMetrics();
// The description of a concrete metric key (families matched), or nullptr.
const MetricSpec* FindMetric(std::string_view key);

// Rough cost of the variant before it runs, from its shape alone: used to order work (long first)
// and to estimate a plan.
struct CostEstimate {
  // Numbers that define the model. Exact where the corpus has data.vocab types; a guess for
  // kneser_ney and for one-hot tables that stay sparse, where the text decides.
  double parameters = 0;
  // Arithmetic, multiply-adds times two: of the explicit solution, of one target's forward pass,
  // and of the whole (a backward pass is two forward ones).
  double solve_flops = 0, target_flops = 0, flops = 0;
  double seconds = 0;  // on one core of the reference machine, statistics not cached
};
CostEstimate EstimateCost(const ResolvedVariant& variant);

}  // namespace saffron
