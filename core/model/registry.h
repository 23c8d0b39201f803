#pragma once
// The one list of everything a sweep file may set: each key's type, unit, range, default, meaning
// and when it is relevant. The sweep reader checks against it, the trainer reads through it, and the
// README's reference tables are printed from it.

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

struct ParamSpec {
  std::string key;          // "model.bits"
  ParamType type;
  ParamValue default_value;
  std::string unit;         // "tokens", "steps", "1/step"; empty when dimensionless
  std::string doc;          // one or two sentences
  std::optional<double> min, max;  // inclusive unless the flags say otherwise
  bool min_exclusive = false, max_exclusive = false;
  std::vector<std::string> choices;  // for strings: the whole list; empty = see `validate`
  // Extra check of a value that is already of the right type and range; null = none.
  // Returns what is wrong, or an empty string.
  std::function<std::string(const ParamValue&)> validate;
  // Whether the key can matter given the values of all keys (defaults filled in). null = always.
  std::function<bool(const std::map<std::string, ParamValue>&)> relevant;
  std::string relevant_doc;  // "model.type is saffu"; empty when always
};

// Every registered key, in the order of the reference table.
const std::vector<ParamSpec>& AllParams();
// nullptr when there is none.
const ParamSpec* FindParam(std::string_view key);
// The registered key (or entry of `candidates`) at the least edit distance, or "" when none is near
// enough to be a likely typo.
std::string NearestParam(std::string_view key);
std::string NearestName(std::string_view name, const std::vector<std::string>& candidates);

// Keys of final metrics that a trial of this variant reports ("test/perplexity", ...), so that a
// roadmap whose metric nobody reports is refused before it runs.
std::vector<std::string> ReportedMetrics(const ResolvedVariant& variant);
// Static description of every metric key: key, unit, meaning, deterministic or not.
struct MetricSpec {
  std::string key, unit, doc;
  bool deterministic;  // false for time/*, memory/*, cache/*: left out when results are compared
};
const std::vector<MetricSpec>& AllMetrics();

// Rough cost of the variant before it runs, from its shape alone: used to order work (long first)
// and to estimate a plan. Parameters are exact; FLOPs are multiply-adds times two.
struct CostEstimate {
  double parameters = 0;
  double flops = 0;
  double seconds = 0;  // on one core of the reference machine
};
CostEstimate EstimateCost(const ResolvedVariant& variant);

}  // namespace saffron
