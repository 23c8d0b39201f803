// train.*: where backpropagation starts and how it goes.

#include "absl/strings/str_cat.h"
#include "core/model/registry_families.h"

namespace saffron {
namespace {

std::string CheckWarmup(const ParamView& params) {
  const int64_t steps = params.Int("train.steps");
  if (params.Int("train.warmup") <= steps) return "";
  return absl::StrCat("want at most train.steps (", steps, ")");
}

}  // namespace

std::vector<ParamSpec> TrainParams() {
  const Condition tuned = {.key = "train.steps", .at_least = 1};
  const auto optimizer_is = [](std::vector<std::string> names) {
    return Condition{.key = "train.optimizer", .any_of = std::move(names)};
  };
  return {
      {.key = "train.init",
       .type = ParamType::kString,
       .default_value = "explicit",
       .doc = "Where parameters start: at the explicit solution or at random.",
       .choices = {"explicit", "random"},
       .relevant_when = {IsTrainable()}},
      {.key = "train.steps",
       .type = ParamType::kInt,
       .default_value = int64_t{0},
       .unit = "steps",
       .doc = "Optimisation steps after the start. 0: none, the start is evaluated.",
       .min = 0,
       .max = 1e8,
       .relevant_when = {IsTrainable()}},
      {.key = "train.batch",
       .type = ParamType::kInt,
       .default_value = int64_t{1024},
       .unit = "tokens or images",
       .doc = "Targets in a step.",
       .min = 1,
       .max = 65536,
       .relevant_when = {tuned}},
      {.key = "train.optimizer",
       .type = ParamType::kString,
       .default_value = "adam",
       .doc =
           "Adam, Adam with decoupled weight decay, or stochastic gradient descent with momentum.",
       .choices = {"adam", "adamw", "sgd"},
       .relevant_when = {tuned}},
      {.key = "train.lr",
       .type = ParamType::kDouble,
       .default_value = 0.001,
       .unit = "1/step",
       .doc = "Learning rate at its highest. Explicit starts want about 1e-3, random ones 1e-2 to "
              "3e-2.",
       .min = 0,
       .max = 100,
       .min_exclusive = true,
       .relevant_when = {tuned}},
      {.key = "train.schedule",
       .type = ParamType::kString,
       .default_value = "linear",
       .doc = "Course of the learning rate after the warm-up: linear or cosine to train.final_lr, "
              "constant, one over the root of the step, or constant and then a linear end (wsd).",
       .choices = {"linear", "constant", "cosine", "inverse_sqrt", "wsd"},
       .relevant_when = {tuned}},
      {.key = "train.final_lr",
       .type = ParamType::kDouble,
       .default_value = 0.1,
       .doc = "Learning rate at the last step, as a fraction of train.lr.",
       .min = 0,
       .max = 1,
       .relevant_when = {tuned, {.key = "train.schedule", .any_of = {"linear", "cosine", "wsd"}}}},
      {.key = "train.warmup",
       .type = ParamType::kInt,
       .default_value = int64_t{0},
       .unit = "steps",
       .doc = "Steps in which the learning rate rises from zero.",
       .min = 0,
       .max = 1e8,
       .consistent = CheckWarmup,
       .relevant_when = {tuned}},
      {.key = "train.momentum",
       .type = ParamType::kDouble,
       .default_value = 0.9,
       .doc = "Momentum of sgd.",
       .min = 0,
       .max = 1,
       .max_exclusive = true,
       .relevant_when = {tuned, optimizer_is({"sgd"})}},
      {.key = "train.beta1",
       .type = ParamType::kDouble,
       .default_value = 0.9,
       .doc = "Decay of Adam's mean gradient.",
       .min = 0,
       .max = 1,
       .max_exclusive = true,
       .relevant_when = {tuned, optimizer_is({"adam", "adamw"})}},
      {.key = "train.beta2",
       .type = ParamType::kDouble,
       .default_value = 0.999,
       .doc = "Decay of Adam's mean squared gradient.",
       .min = 0,
       .max = 1,
       .max_exclusive = true,
       .relevant_when = {tuned, optimizer_is({"adam", "adamw"})}},
      {.key = "train.epsilon",
       .type = ParamType::kDouble,
       .default_value = 1e-8,
       .doc = "Added to the root of Adam's mean squared gradient.",
       .min = 0,
       .max = 1,
       .min_exclusive = true,
       .relevant_when = {tuned, optimizer_is({"adam", "adamw"})}},
      {.key = "train.weight_decay",
       .type = ParamType::kDouble,
       .default_value = 0.01,
       .unit = "1/step",
       .doc =
           "Decoupled weight decay of adamw: parameters shrink by train.lr times this in a step.",
       .min = 0,
       .max = 100,
       .relevant_when = {tuned, optimizer_is({"adamw"})}},
      {.key = "train.clip",
       .type = ParamType::kDouble,
       .default_value = 0.0,
       .doc = "Largest global L2 norm of a gradient; longer ones are scaled down. 0: any.",
       .min = 0,
       .max = 1e9,
       .relevant_when = {tuned}},
      {.key = "train.eval_every",
       .type = ParamType::kInt,
       .default_value = int64_t{0},
       .unit = "steps",
       .doc = "Steps between evaluations on the validation split. 0: ten evaluations a run.",
       .min = 0,
       .max = 1e8,
       .relevant_when = {tuned}},
      {.key = "train.patience",
       .type = ParamType::kInt,
       .default_value = int64_t{0},
       .unit = "evaluations",
       .doc = "Evaluations without improvement before a run stops early. 0: it never does.",
       .min = 0,
       .max = 1e6,
       .relevant_when = {tuned}},
      {.key = "train.keep",
       .type = ParamType::kString,
       .default_value = "best",
       .doc = "Which parameters are evaluated at the end: the best on the validation split, or the "
              "last.",
       .choices = {"best", "last"},
       .relevant_when = {tuned}},
  };
}

}  // namespace saffron
