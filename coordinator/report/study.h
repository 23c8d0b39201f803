#pragma once
// One roadmap's results in memory, as reports look at them: variants with their parameters, final
// metrics over seeds, blocks, failures.

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "coordinator/report/read_source.h"
#include "coordinator/report/statistics.h"
#include "core/model/variant.h"

namespace saffron {

using Params = std::map<std::string, ParamValue>;

struct StudyVariant {
  int64_t id = 0;
  int64_t trial =
      0;  // the first of its trials that has a value of the roadmap's metric; 0: none has
  std::string block, role, label;
  Params params;
  // Final metrics over the seeds that succeeded with a finite value; only those a report asks for.
  std::map<std::string, Summary> metrics;

  bool Has(const std::string& metric) const { return metrics.contains(metric); }
  // NaN when the variant has no such value.
  double Mean(const std::string& metric) const;
};

// A kind of failure, with how often it happened and one trial that shows it.
struct StudyFailure {
  std::string state, failure_class, message;
  int64_t trials = 0, example = 0;
};

struct Study {
  int64_t roadmap = 0;
  std::string name, question;
  int64_t revision = 0;
  std::string metric;  // the roadmap's own: decides every ranking; empty when it names none
  std::string shown;   // what is reported beside it: its test/ counterpart where it is a valid/ one
  bool minimize = true;
  std::vector<StudyVariant> variants;  // in the roadmap's order
  std::vector<std::pair<std::string, std::vector<int>>>
      blocks;                                   // indices, in order of first mention
  std::map<std::string, int64_t> trial_states;  // "succeeded" -> 259
  std::vector<StudyFailure> failures;           // most frequent first

  // Whether `a` is a better value of the metric than `b`.
  bool Better(double a, double b) const { return minimize ? a < b : a > b; }
};

// Reads the current revision of `roadmap`: a name, an id, or "last" (the one submitted last). A
// name wins over an id. NOT_FOUND names the roadmaps there are.
absl::StatusOr<Study> LoadStudy(ReadSource& source, const std::string& roadmap);

struct RoadmapName {
  int64_t id = 0;
  std::string name;
};
// The roadmap that `given` means, as in LoadStudy.
absl::StatusOr<RoadmapName> FindRoadmap(ReadSource& source, const std::string& given);

// Values are comparable only over the same held-out text or images: equal corpus, tokeniser,
// vocabulary and evaluation size. Equal strings = comparable; for people, "sotu word vocab=4096".
std::string EvaluationData(const Params& params);

// "key=value" of `keys` present in `params`, space-separated, each key without its room
// ("bits=64 lr=0.01").
std::string DescribeParams(const Params& params, const std::vector<std::string>& keys);
// "model.bits" -> "bits".
std::string_view ShortKey(std::string_view key);
// A value for people: shortest text, strings unquoted.
std::string ShortValue(const ParamValue& value);

// What tells `variants` apart (core/model/varying_keys.h), in order.
std::vector<std::string> VaryingKeys(const std::vector<const StudyVariant*>& variants);

}  // namespace saffron
