// model.type, and the keys that more than one type has.

#include "core/model/registry_families.h"

namespace saffron {

Condition ModelTypeIs(std::vector<std::string> types) {
  return {.key = "model.type", .any_of = std::move(types)};
}
Condition IsTrainable() {
  return ModelTypeIs({"saffu", "softmax_regression", "transformer", "mlp"});
}
Condition IsSolvable() { return ModelTypeIs({"saffu", "softmax_regression"}); }

std::vector<ParamSpec> ModelTypeParams() {
  return {
      {.key = "model.type",
       .type = ParamType::kString,
       .default_value = "saffu",
       .doc =
           "The model: self-attentive feed-forward units; softmax regression on one-hot contexts "
           "or "
           "pixels; a transformer; a multi-layer perceptron on pixels; an interpolated Kneser-Ney "
           "n-gram model; a log-linear model of n-grams, skips and document history; token "
           "frequencies; or nothing at all, to measure the orchestration.",
       .choices = {"saffu", "softmax_regression", "transformer", "mlp", "kneser_ney", "log_linear",
                   "unigram", "noop"}},
      {.key = "model.context",
       .type = ParamType::kInt,
       .default_value = int64_t{4},
       .unit = "tokens",
       .doc = "How many tokens before the target have a key of their own (saffu: lags of stream x; "
              "softmax_regression: one-hot lags).",
       .min = 1,
       .max = 64,
       .relevant_when = {IsSolvable(), InputIsText()}},
  };
}

}  // namespace saffron
