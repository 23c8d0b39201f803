// solve.*: the explicit solution that a variant starts from.

#include "absl/strings/str_cat.h"
#include "core/model/registry_families.h"

namespace saffron {
namespace {

// Codes of as many bits as the residual stream is wide.
std::string CheckEmbedding(const ParamView& params) {
  if (params.String("solve.embedding") == "random") return "";
  const int64_t width = params.Int("model.hidden_width");
  const int64_t vocab = params.String("data.tokenizer") == "byte" ? 257 : params.Int("data.vocab");
  if (width >= 62 || (int64_t{1} << width) > vocab) return "";
  return absl::StrCat("want random: codes of model.hidden_width (", width, ") bits do not name ",
                      vocab, " types");
}

std::string CheckReadout(const ParamView& params) {
  const std::string& readout = params.String("solve.readout");
  const bool own = readout == "ridge" || readout == "explicit";
  if (!own || !std::get<bool>(params["model.tie"])) return "";
  return absl::StrCat("want model.tie false for a readout of its own (", readout,
                      "), or prior or random");
}

}  // namespace

std::vector<ParamSpec> SolveParams() {
  const Condition is_explicit = {.key = "train.init", .any_of = {"explicit"}};
  // One-hot counts are smoothed by absolute discounting, which has neither alpha nor kappa.
  const Condition saffu = ModelTypeIs({"saffu"}), transformer = ModelTypeIs({"transformer"});
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
       .doc = "Whether the hold-out is counted too once gains are fitted to it. Scores on the "
              "training split are of left-out targets only where it is: without it they are of "
              "counted text, and look far better than they are.",
       .consistent =
           [](const ParamView& p) {
             const bool fits = std::get<bool>(p["solve.refold"]) || p.Int("train.steps") == 0;
             return fits ? "" : "want true when train.steps is at least 1";
           },
       .relevant_when = {log_linear, calibrated}},
      {.key = "solve.dense_alpha",
       .type = ParamType::kDouble,
       .default_value = 1000.0,
       .unit = "tokens",
       .doc = "Mass of the prior in the smoothed counts behind log_linear's dense evidence.",
       .min = 0,
       .max = 1e9,
       .min_exclusive = true,
       .relevant_when = {log_linear,
                         {.key = "model.dense",
                          .any_of = {"x", "c", "r", "x+c", "x+r", "c+r", "x+c+r"}}}},
      {.key = "solve.embedding",
       .type = ParamType::kString,
       .default_value = "context",
       .doc = "Where an explicitly started transformer's embedding comes from: bit-cipher codes, "
              "context vectors (mean codes of what follows a token), or draws.",
       .choices = {"context", "cipher", "random"},
       .consistent = CheckEmbedding,
       .relevant_when = {transformer, is_explicit}},
      {.key = "solve.readout",
       .type = ParamType::kString,
       .default_value = "prior",
       .doc =
           "Where its readout comes from: log frequencies in the bias (prior), those and what the "
           "start's hidden states say of the next token, counted (explicit; untied) or by a ridge "
           "regression (ridge; untied), or draws.",
       .choices = {"prior", "explicit", "ridge", "random"},
       .consistent = CheckReadout,
       .relevant_when = {transformer, is_explicit}},
  };
}

}  // namespace saffron
