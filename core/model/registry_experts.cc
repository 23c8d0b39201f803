// model.* of the transformer's sparse layers; the equations stand in core/transformer/moe_layer.h.

#include "core/model/registry_experts.h"

#include "absl/strings/str_cat.h"
#include "core/model/registry_families.h"

namespace saffron {
namespace {

std::string CheckTop(const ParamView& p) {
  const int64_t experts = p.Int("model.experts");
  if (p.Int("model.expert_top") <= experts) return "";
  return absl::StrCat("want at most model.experts (", experts, "): a token chooses different ones");
}

std::string CheckEvery(const ParamView& p) {
  const int64_t layers = p.Int("model.layers");
  if (p.Int("model.expert_every") <= layers) return "";
  return absl::StrCat("want at most model.layers (", layers,
                      "), for at least one layer to have experts");
}

std::string CheckSlots(const ParamView& p, std::string_view key) {
  const int64_t window = p.Int("model.window"), experts = p.Int("model.experts");
  const double slots = static_cast<double>(window) * p.Double(key) / static_cast<double>(experts);
  if (slots >= 1) return "";
  return absl::StrCat("want at least one token an expert: of model.window (", window,
                      ") tokens, that share over model.experts (", experts, ") is ", slots);
}

std::string CheckOrder(const ParamView& p) {
  if (p.String("model.slots") != "priority") return "";
  return "want token_major or choice_major: priority gives slots to the likeliest tokens of the "
         "whole window first, so that whether a token is dropped would depend on later tokens, "
         "which a language model has not seen";
}

}  // namespace

std::vector<ParamSpec> ExpertParams() {
  const Condition transformer = ModelTypeIs({"transformer"});
  const Condition sparse{.key = "model.experts", .at_least = 2};
  const Condition choices{.key = "model.expert_top", .at_least = 2};
  const Condition trained{.key = "train.steps", .at_least = 1};
  return {
      {.key = "model.experts",
       .type = ParamType::kInt,
       .default_value = int64_t{1},
       .doc = "Experts of a sparse layer: MLPs of model.mlp_width each, of which a router picks "
              "model.expert_top for every token. 1: every layer has its one MLP.",
       .min = 1,
       .max = 256,
       .relevant_when = {transformer}},
      {.key = "model.expert_top",
       .type = ParamType::kInt,
       .default_value = int64_t{2},
       .doc = "Experts that a token goes to. With 1 the expert's output is weighed by its "
              "probability among all, else by that among the chosen.",
       .min = 1,
       .max = 8,
       .consistent = CheckTop,
       .relevant_when = {transformer, sparse}},
      {.key = "model.expert_every",
       .type = ParamType::kInt,
       .default_value = int64_t{1},
       .unit = "layers",
       .doc = "The last of every so many layers is sparse.",
       .min = 1,
       .max = 64,
       .consistent = CheckEvery,
       .relevant_when = {transformer, sparse}},
      {.key = "model.capacity",
       .type = ParamType::kDouble,
       .default_value = 1.25,
       .doc = "An expert takes at most model.window times this over model.experts choices of a "
              "window (at least 4) in training; others are dropped, and only the residual passes.",
       .min = 0,
       .max = 1000,
       .min_exclusive = true,
       .consistent = [](const ParamView& p) { return CheckSlots(p, "model.capacity"); },
       .relevant_when = {transformer, sparse, trained}},
      {.key = "model.eval_capacity",
       .type = ParamType::kDouble,
       .default_value = 2.0,
       .doc = "The same in evaluation.",
       .min = 0,
       .max = 1000,
       .min_exclusive = true,
       .consistent = [](const ParamView& p) { return CheckSlots(p, "model.eval_capacity"); },
       .relevant_when = {transformer, sparse}},
      {.key = "model.slots",
       .type = ParamType::kString,
       .default_value = "token_major",
       .doc = "Who gets an expert's slots: token after token; or all first choices before second "
              "ones, as in the published code, where a token's output depends on later tokens. "
              "priority, the likeliest tokens first, does so by construction and is refused.",
       .choices = {"token_major", "choice_major", "priority"},
       .consistent = CheckOrder,
       .relevant_when = {transformer, sparse}},
      {.key = "model.second_policy",
       .type = ParamType::kString,
       .default_value = "random",
       .doc = "Whether choices after a token's first are taken: all, none, those whose gate is "
              "above model.second_threshold, or with probability gate over threshold.",
       .choices = {"random", "threshold", "all", "none"},
       .relevant_when = {transformer, sparse, choices}},
      {.key = "model.second_threshold",
       .type = ParamType::kDouble,
       .default_value = 0.2,
       .doc = "The gate from which a second choice counts in full.",
       .min = 0,
       .max = 1,
       .min_exclusive = true,
       .relevant_when = {transformer,
                         sparse,
                         choices,
                         {.key = "model.second_policy", .any_of = {"random", "threshold"}}}},
      {.key = "model.balance",
       .type = ParamType::kDouble,
       .default_value = 0.01,
       .doc = "Weight of the loss that is least when experts are chosen equally often.",
       .min = 0,
       .max = 100,
       .relevant_when = {transformer, sparse, trained}},
      {.key = "model.router_z",
       .type = ParamType::kDouble,
       .default_value = 0.001,
       .doc =
           "Weight of the mean squared logsumexp of the router's logits, which keeps them small.",
       .min = 0,
       .max = 100,
       .relevant_when = {transformer, sparse, trained}},
      {.key = "model.router_jitter",
       .type = ParamType::kDouble,
       .default_value = 0.0,
       .doc = "Router logits are multiplied by numbers at most this far from 1 in training.",
       .min = 0,
       .max = 1,
       .max_exclusive = true,
       .relevant_when = {transformer, sparse, trained}},
      {.key = "model.expert_dropout",
       .type = ParamType::kDouble,
       .default_value = 0.0,
       .doc = "Share of the experts' hidden units that a step drops.",
       .min = 0,
       .max = 1,
       .max_exclusive = true,
       .relevant_when = {transformer, sparse, trained}},
      {.key = "model.sparse_dense",
       .type = ParamType::kString,
       .default_value = "none",
       .doc = "A dense MLP of model.mlp_width more, before or after the experts.",
       .choices = {"none", "before", "after"},
       .relevant_when = {transformer, sparse}},
  };
}

}  // namespace saffron
