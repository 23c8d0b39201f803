// solve.*: the explicit solution that a variant starts from.

#include "core/model/registry_families.h"

namespace saffron {

std::vector<ParamSpec> SolveParams() {
  const Condition is_explicit = {.key = "train.init", .any_of = {"explicit"}};
  // One-hot counts are smoothed by absolute discounting, which has neither alpha nor kappa.
  const Condition saffu = ModelTypeIs({"saffu"});
  const Condition log_linear = ModelTypeIs({"log_linear"});
  const Condition calibrated = {.key = "solve.gains", .any_of = {"calibrated"}};
  return {
      {.key = "solve.gains",
       .type = ParamType::kString,
       .default_value = "calibrated",
       .doc = "Weight of each key's evidence: fitted to a hold-out (calibrated), one over the "
              "number of "
              "keys (geometric), or one (knorm: the formula as it stands; of log_linear, 1 for "
              "n-grams "
              "and 0.1 for other evidence).",
       .choices = {"calibrated", "geometric", "knorm"},
       .consistent =
           [](const ParamView& p) {
             const bool fits =
                 p.String("model.type") != "log_linear" || p.String("solve.gains") != "geometric";
             return fits ? "" : "want calibrated or knorm when model.type is log_linear";
           },
       .relevant_when = {ModelTypeIs({"saffu", "softmax_regression", "log_linear"}), is_explicit}},
      {.key = "solve.alpha",
       .type = ParamType::kDouble,
       .default_value = 0.0,
       .unit = "tokens",
       .doc = "Mass of the prior in smoothed counts. 0: the best on the hold-out of 100, 300, 1000 "
              "and "
              "3000.",
       .min = 0,
       .max = 1e9,
       .relevant_when = {saffu, is_explicit}},
      {.key = "solve.kappa",
       .type = ParamType::kDouble,
       .default_value = 1.0,
       .unit = "tokens",
       .doc = "Shrinks evidence from few counts: R is scaled by m / (m + kappa).",
       .min = 0,
       .max = 1e9,
       .relevant_when = {saffu, is_explicit}},
      {.key = "solve.gain_min",
       .type = ParamType::kDouble,
       .default_value = -1.5,
       .doc = "Smallest gain of log_linear evidence.",
       .min = -100,
       .max = 0,
       .relevant_when = {log_linear, calibrated}},
      {.key = "solve.gain_prior",
       .type = ParamType::kDouble,
       .default_value = 20.0,
       .unit = "tokens",
       .doc = "Pull of log_linear gains towards 1 (n-grams), 0.1 (other keys) and 0 (of what was "
              "seen at all).",
       .min = 0,
       .max = 1e9,
       .min_exclusive = true,
       .relevant_when = {log_linear, calibrated}},
      {.key = "solve.refold",
       .type = ParamType::kBool,
       .default_value = true,
       .doc = "Whether the hold-out is counted too once gains are fitted to it.",
       .consistent =
           [](const ParamView& p) {
             const bool fits = std::get<bool>(p["solve.refold"]) || p.Int("train.steps") == 0;
             return fits ? "" : "want true when train.steps is at least 1";
           },
       .relevant_when = {log_linear, calibrated}},
  };
}

}  // namespace saffron
