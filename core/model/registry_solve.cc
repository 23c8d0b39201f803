// solve.*: the explicit solution that a variant starts from.

#include "core/model/registry_families.h"

namespace saffron {

std::vector<ParamSpec> SolveParams() {
  const Condition is_explicit = {.key = "train.init", .any_of = {"explicit"}};
  // One-hot counts are smoothed by absolute discounting, which has neither alpha nor kappa.
  const Condition saffu = ModelTypeIs({"saffu"});
  return {
      {.key = "solve.gains",
       .type = ParamType::kString,
       .default_value = "calibrated",
       .doc = "Weight of each key's evidence: fitted to a hold-out (calibrated), one over the "
              "number of "
              "keys (geometric), or one (knorm: the formula as it stands).",
       .choices = {"calibrated", "geometric", "knorm"},
       .relevant_when = {IsTrainable(), is_explicit}},
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
  };
}

}  // namespace saffron
