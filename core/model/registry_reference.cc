// model.* of the reference models: what SAFFU is measured against.

#include "core/model/registry_families.h"

namespace saffron {
namespace {

std::string CheckInput(const ParamView& params) {
  if (params.String("model.type") != "mlp" || params.String("model.input") == "pixels") return "";
  return "want pixels for an mlp";
}

}  // namespace

std::vector<ParamSpec> ReferenceParams() {
  return {
      {.key = "model.input",
       .type = ParamType::kString,
       .default_value = "onehot",
       .doc = "What softmax regression reads: the last model.context tokens as one-hot vectors, or "
              "the pixels of an image. An mlp reads pixels.",
       .choices = {"onehot", "pixels"},
       .consistent = CheckInput,
       .relevant_when = {ModelTypeIs({"softmax_regression", "mlp"})}},
      {.key = "model.order",
       .type = ParamType::kInt,
       .default_value = int64_t{3},
       .unit = "tokens",
       .doc = "Length of the longest n-gram. 1, log_linear alone: no chain of n-grams.",
       .min = 1,
       .max = 5,
       .consistent =
           [](const ParamView& p) {
             const bool fits = p.String("model.type") != "kneser_ney" || p.Int("model.order") > 1;
             return fits ? "" : "want at least 2 when model.type is kneser_ney";
           },
       .relevant_when = {ModelTypeIs({"kneser_ney", "log_linear"})}},
      {.key = "model.discounts",
       .type = ParamType::kString,
       .default_value = "single",
       .doc =
           "Kneser-Ney discounts: one for each order, or three (modified: for counts 1, 2, 3 and "
           "more).",
       .choices = {"single", "modified"},
       .relevant_when = {ModelTypeIs({"kneser_ney", "log_linear"})}},
      {.key = "model.sleep_ms",
       .type = ParamType::kInt,
       .default_value = int64_t{0},
       .unit = "ms",
       .doc = "How long a noop trial sleeps.",
       .min = 0,
       .max = 3.6e6,
       .relevant_when = {ModelTypeIs({"noop"})}},
      {.key = "model.behaviour",
       .type = ParamType::kString,
       .default_value = "succeed",
       .doc = "How a noop trial ends: with a result, diverged, with an error, or by killing its "
              "process.",
       .choices = {"succeed", "diverge", "fail", "crash"},
       .relevant_when = {ModelTypeIs({"noop"})}},
  };
}

}  // namespace saffron
