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

struct StudyVariant {
  int64_t id = 0;
  int64_t trial =
      0;  // the first of its trials that has a value of the roadmap's metric; 0: none has
  std::string block, role, label;
  Params params;
  // Of the variant whose models this one's start from, or 0; and how they are grown: operators, in
  // order, "hidden:128, mlp:x2".
  int64_t parent = 0;
  std::string derive;
  // Of Study::shown, this variant's value minus the baseline's, over the seeds that both have. None
  // (n = 0) where there is no baseline, or it was measured over other data.
  Summary effect;
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

// A variant of a block's `ablate`: the groups whose changes it makes, '+'-joined.
struct StudyAblation {
  std::string block, groups;
  int variant = 0;  // index
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
  std::vector<StudyAblation> ablations;         // in the order of the blocks and of their groups
  std::map<std::string, int64_t> trial_states;  // "succeeded" -> 259
  std::vector<StudyFailure> failures;           // most frequent first

  const StudyVariant* baseline() const;  // null where there is none

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
// What its models start from: "grown from baseline by hidden:128, mlp:x2", "starts from bits=64";
// empty for a variant that starts from nothing.
std::string DescribeParent(const Study& study, const StudyVariant& variant);
// Both: "bits=64 lr=0.01, grown from baseline by mlp:x2".
std::string Describe(const Study& study, const StudyVariant& variant,
                     const std::vector<std::string>& keys);
// "model.bits" -> "bits".
std::string_view ShortKey(std::string_view key);
// A value for people: shortest text, strings unquoted.
std::string ShortValue(const ParamValue& value);

// What tells `variants` apart (core/model/varying_keys.h), in order, but for what DescribeParent
// says.
std::vector<std::string> VaryingKeys(const std::vector<const StudyVariant*>& variants);

}  // namespace saffron
