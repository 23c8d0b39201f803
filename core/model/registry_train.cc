// train.*: where backpropagation starts and how it goes.

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "core/model/registry_families.h"

namespace saffron {
namespace {

std::string CheckWarmup(const ParamView& params) {
  const int64_t steps = params.Int("train.steps");
  if (params.Int("train.warmup") <= steps) return "";
  return absl::StrCat("want at most train.steps (", steps, ")");
}

std::string CheckAccumulate(const ParamView& params) {
  int64_t examples = params.Int("train.batch");
  const bool windows = params.String("model.type") == "transformer";
  if (windows) examples /= params.Int("model.window");
  if (params.Int("train.accumulate") <= examples) return "";
  return absl::StrCat("want at most train.batch", windows ? " / model.window (" : " (", examples,
                      ")");
}

// The form of a list of patterns over tensors; the model's tensors are known only when it is built.
std::string CheckPatterns(const ParamValue& value) {
  const std::string& text = std::get<std::string>(value);
  if (absl::StripAsciiWhitespace(text).empty()) return "";
  for (absl::string_view entry : absl::StrSplit(text, ',')) {
    entry = absl::StripAsciiWhitespace(entry);
    absl::ConsumePrefix(&entry, "!");
    if (absl::StripAsciiWhitespace(entry).empty()) {
      return "want names of tensors or roles (hidden, embedding, readout, vector), separated by "
             "commas, with no entry empty";
    }
  }
  return "";
}

std::string CheckBatch(const ParamView& params) {
  if (params.String("model.type") != "transformer") return "";
  const int64_t window = params.Int("model.window");
  if (params.Int("train.batch") % window == 0) return "";
  return absl::StrCat("want whole windows of model.window (", window, ") tokens");
}

}  // namespace

std::vector<ParamSpec> TrainParams() {
  const Condition tuned = {.key = "train.steps", .at_least = 1};
  const Condition polished = {.key = "train.polish", .at_least = 1};
  const Condition scheduled = {.key = "train.step_size", .any_of = {"schedule"}};
  const auto optimizer_is = [](std::vector<std::string> names) {
    return Condition{.key = "train.optimizer", .any_of = std::move(names)};
  };
  return {
      {.key = "train.init",
       .type = ParamType::kString,
       .default_value = "explicit",
       .doc = "Where parameters start: at the explicit solution or at random. Of a transformer, "
              "explicit means what solve.embedding and solve.readout say.",
       .choices = {"explicit", "random"},
       .relevant_when = {ModelTypeIs({"saffu", "softmax_regression", "transformer"})}},
      {.key = "train.steps",
       .type = ParamType::kInt,
       .default_value = int64_t{0},
       .unit = "steps",
       .doc = "Optimisation steps after the start. 0: none, the start is evaluated.",
       .min = 0,
       .max = 1e8,
       .relevant_when = {ModelTypeIs(
           {"saffu", "softmax_regression", "transformer", "mlp", "log_linear"})}},
      {.key = "train.precision",
       .type = ParamType::kString,
       .default_value = "float32",
       .doc = "Operands of the products with a transformer's weights, in training and evaluation. "
              "bf16: rounded to bfloat16, about 1.6 times as fast; parameters, sums, softmax, "
              "norms and the optimiser stay in float32. Wants workers with AVX512-BF16; others "
              "get no such trials.",
       .choices = {"float32", "bf16"},
       .relevant_when = {ModelTypeIs({"transformer"})}},
      {.key = "train.batch",
       .type = ParamType::kInt,
       .default_value = int64_t{1024},
       .unit = "tokens or images",
       .doc = "Targets in a step.",
       .min = 1,
       .max = 65536,
       .consistent = CheckBatch,
       .relevant_when = {tuned}},
      {.key = "train.optimizer",
       .type = ParamType::kString,
       .default_value = "adam",
       .doc = "Adam; Adam with decoupled weight decay; Adafactor, which keeps squared gradients as "
              "row and column means; Muon, which moves hidden matrices by orthogonalised momentum "
              "and the rest by adamw; or stochastic gradient descent with momentum.",
       .choices = {"adam", "adamw", "adafactor", "muon", "sgd"},
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
       .relevant_when = {tuned, scheduled}},
      {.key = "train.schedule",
       .type = ParamType::kString,
       .default_value = "linear",
       .doc = "Course of the learning rate after the warm-up: linear or cosine to train.final_lr, "
              "constant, one over the root of the step, or constant and then down to "
              "train.final_lr (wsd).",
       .choices = {"linear", "constant", "cosine", "inverse_sqrt", "wsd"},
       .relevant_when = {tuned, scheduled}},
      {.key = "train.decay_fraction",
       .type = ParamType::kDouble,
       .default_value = 0.2,
       .doc = "Share of the steps in which wsd takes the learning rate down.",
       .min = 0,
       .max = 1,
       .min_exclusive = true,
       .relevant_when = {tuned, scheduled, {.key = "train.schedule", .any_of = {"wsd"}}}},
      {.key = "train.decay_shape",
       .type = ParamType::kString,
       .default_value = "linear",
       .doc = "How wsd does it, over the share x of those steps: by 1 - x, half a cosine, or 1 - "
              "sqrt(x) (root).",
       .choices = {"linear", "cosine", "root"},
       .relevant_when = {tuned, scheduled, {.key = "train.schedule", .any_of = {"wsd"}}}},
      {.key = "train.final_lr",
       .type = ParamType::kDouble,
       .default_value = 0.1,
       .doc = "Learning rate at the last step, as a fraction of train.lr.",
       .min = 0,
       .max = 1,
       .relevant_when = {tuned,
                         scheduled,
                         {.key = "train.schedule", .any_of = {"linear", "cosine", "wsd"}}}},
      {.key = "train.warmup",
       .type = ParamType::kInt,
       .default_value = int64_t{0},
       .unit = "steps",
       .doc = "Steps in which the learning rate rises from zero.",
       .min = 0,
       .max = 1e8,
       .consistent = CheckWarmup,
       .relevant_when = {tuned, scheduled}},
      {.key = "train.momentum",
       .type = ParamType::kDouble,
       .default_value = 0.9,
       .doc = "Momentum of sgd.",
       .min = 0,
       .max = 1,
       .max_exclusive = true,
       .relevant_when = {tuned, optimizer_is({"sgd"})}},
      {.key = "train.nesterov",
       .type = ParamType::kBool,
       .default_value = false,
       .doc = "Nesterov's look-ahead in sgd.",
       .relevant_when = {tuned, optimizer_is({"sgd"})}},
      {.key = "train.l2",
       .type = ParamType::kDouble,
       .default_value = 0.0,
       .doc = "L2 penalty of sgd: this times the parameter is added to its gradient.",
       .min = 0,
       .max = 100,
       .relevant_when = {tuned, optimizer_is({"sgd"})}},
      {.key = "train.beta1",
       .type = ParamType::kDouble,
       .default_value = 0.9,
       .doc = "Decay of Adam's mean gradient.",
       .min = 0,
       .max = 1,
       .max_exclusive = true,
       .relevant_when = {tuned, optimizer_is({"adam", "adamw", "muon"})}},
      {.key = "train.beta2",
       .type = ParamType::kDouble,
       .default_value = 0.999,
       .doc = "Decay of Adam's mean squared gradient.",
       .min = 0,
       .max = 1,
       .max_exclusive = true,
       .relevant_when = {tuned, optimizer_is({"adam", "adamw", "muon"})}},
      {.key = "train.epsilon",
       .type = ParamType::kDouble,
       .default_value = 1e-8,
       .doc = "Added to the root of Adam's mean squared gradient.",
       .min = 0,
       .max = 1,
       .min_exclusive = true,
       .relevant_when = {tuned, optimizer_is({"adam", "adamw", "muon"})}},
      {.key = "train.weight_decay",
       .type = ParamType::kDouble,
       .default_value = 0.01,
       .unit = "1/step",
       .doc = "Decoupled weight decay of adamw, adafactor and muon: parameters shrink by the "
              "learning rate times this in a step.",
       .min = 0,
       .max = 100,
       .relevant_when = {tuned, optimizer_is({"adamw", "adafactor", "muon"})}},
      {.key = "train.decay_on",
       .type = ParamType::kString,
       .default_value = "matrices",
       .doc = "What weight decay and train.l2 act on: every matrix but no vector (biases, gains, "
              "scores), hidden matrices alone (no embeddings, no readouts), or all.",
       .choices = {"matrices", "hidden", "all"},
       .relevant_when = {tuned, optimizer_is({"adamw", "adafactor", "muon", "sgd"})}},
      {.key = "train.step_size",
       .type = ParamType::kString,
       .default_value = "schedule",
       .doc = "Where adafactor's learning rate comes from: train.lr and its schedule, or "
              "min(0.01, 1 / sqrt(step)) (relative).",
       .choices = {"schedule", "relative"},
       .relevant_when = {tuned, optimizer_is({"adafactor"})}},
      {.key = "train.scale_parameter",
       .type = ParamType::kBool,
       .default_value = true,
       .doc = "Adafactor's learning rate is times the root mean square of the tensor, at least "
              "0.001.",
       .relevant_when = {tuned, optimizer_is({"adafactor"})}},
      {.key = "train.update_clip",
       .type = ParamType::kDouble,
       .default_value = 1.0,
       .doc = "Largest root mean square of adafactor's update of a tensor, before the learning "
              "rate.",
       .min = 0,
       .max = 1e9,
       .min_exclusive = true,
       .relevant_when = {tuned, optimizer_is({"adafactor"})}},
      {.key = "train.factored_min",
       .type = ParamType::kInt,
       .default_value = int64_t{128},
       .unit = "rows and columns",
       .doc = "Adafactor keeps squared gradients of matrices with fewer rows or columns element by "
              "element.",
       .min = 2,
       .max = 1e9,
       .relevant_when = {tuned, optimizer_is({"adafactor"})}},
      {.key = "train.update_momentum",
       .type = ParamType::kDouble,
       .default_value = 0.0,
       .doc = "Decay of the mean of adafactor's updates, which is taken in their place. 0: none.",
       .min = 0,
       .max = 1,
       .max_exclusive = true,
       .relevant_when = {tuned, optimizer_is({"adafactor"})}},
      {.key = "train.muon_lr",
       .type = ParamType::kDouble,
       .default_value = 0.02,
       .unit = "1/step",
       .doc = "Muon's learning rate of hidden matrices at its highest; train.lr is that of the "
              "rest.",
       .min = 0,
       .max = 100,
       .min_exclusive = true,
       .relevant_when = {tuned, optimizer_is({"muon"})}},
      {.key = "train.muon_momentum",
       .type = ParamType::kDouble,
       .default_value = 0.95,
       .doc = "Momentum of Muon's hidden matrices.",
       .min = 0,
       .max = 1,
       .max_exclusive = true,
       .relevant_when = {tuned, optimizer_is({"muon"})}},
      {.key = "train.accumulate",
       .type = ParamType::kInt,
       .default_value = int64_t{1},
       .doc = "Parts that a batch is taken in, one after the other, for less memory; their "
              "gradients are summed.",
       .min = 1,
       .max = 65536,
       .consistent = CheckAccumulate,
       .relevant_when = {tuned}},
      {.key = "train.freeze",
       .type = ParamType::kString,
       .default_value = "",
       .doc = "Tensors that steps leave alone: names with * for any characters, or roles (hidden, "
              "embedding, readout, vector), separated by commas; ! takes back: \"*, !readout\" "
              "trains the readout.",
       .validate = CheckPatterns,
       .relevant_when = {tuned}},
      {.key = "train.ema",
       .type = ParamType::kDouble,
       .default_value = 0.0,
       .doc = "Decay of a moving average of the parameters, which is then what is evaluated; "
              "raw/* are the metrics without it. 0: none.",
       .min = 0,
       .max = 1,
       .max_exclusive = true,
       .relevant_when = {tuned}},
      {.key = "train.polish",
       .type = ParamType::kInt,
       .default_value = int64_t{0},
       .unit = "iterations",
       .doc = "Iterations of full-batch L-BFGS on a sample of the training examples, after the "
              "steps. The best parameters on the validation split are kept. 0: none.",
       .min = 0,
       .max = 1e6,
       .relevant_when = {IsTrainable()}},
      {.key = "train.polish_on",
       .type = ParamType::kString,
       .default_value = "readout",
       .doc = "Tensors that train.polish changes, as in train.freeze.",
       .validate = CheckPatterns,
       .consistent =
           [](const ParamView& p) {
             const bool is_tied =
                 p.String("model.type") == "transformer" && std::get<bool>(p["model.tie"]);
             const bool fits = !is_tied || p.String("train.polish_on") != "readout";
             return fits ? ""
                         : "want tensors that there are, such as embedding, or model.tie: false: "
                           "with model.tie the readout is the embedding";
           },
       .relevant_when = {polished}},
      {.key = "train.polish_examples",
       .type = ParamType::kInt,
       .default_value = int64_t{16384},
       .unit = "tokens or images",
       .doc = "Size of that sample.",
       .min = 1,
       .max = 1e9,
       .relevant_when = {polished}},
      {.key = "train.label_smoothing",
       .type = ParamType::kDouble,
       .default_value = 0.0,
       .doc = "Share of the target's probability that training spreads over all classes. Reported "
              "losses other than train/loss are without it.",
       .min = 0,
       .max = 1,
       .max_exclusive = true,
       .relevant_when = {tuned, ModelTypeIs({"transformer", "mlp"})}},
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
       .about_measuring = true,
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
