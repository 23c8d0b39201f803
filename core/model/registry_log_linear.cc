// model.* of log-linear n-gram models; the equation stands in core/log_linear/log_linear_shape.h.

#include "core/model/lag_template.h"
#include "core/model/registry_families.h"

namespace saffron {
namespace {

// model.dense names one of `streams`.
Condition DenseHas(std::string_view streams) {
  std::vector<std::string> having;
  for (const char* dense : {"x", "c", "r", "x+c", "x+r", "c+r", "x+c+r"}) {
    if (std::string_view(dense).find_first_of(streams) != std::string_view::npos) {
      having.push_back(dense);
    }
  }
  return {.key = "model.dense", .any_of = having};
}

}  // namespace

std::vector<ParamSpec> LogLinearParams() {
  const Condition log_linear = ModelTypeIs({"log_linear"});
  const Condition has_network = {.key = "model.network",
                                 .any_of = {"feed_forward", "saffu", "transformer"}};
  const Condition has_drawn_network = {.key = "model.network",
                                       .any_of = {"feed_forward", "transformer"}};
  const Condition is_product = {.key = "model.join", .any_of = {"product"}};
  const Condition has_dense = DenseHas("xcr");
  const Condition reads_history = ModelTypeIs({"kneser_ney", "log_linear"});
  return {
      {.key = "model.templates",
       .type = ParamType::kString,
       .default_value = "none",
       .doc = "Contexts beside the chain of n-grams, as lists of lags: 2.4 is the tokens two and "
              "four before the target. skip stands for 2+3+4, pair for 1.3+2.3.",
       .validate =
           [](const ParamValue& value) {
             const auto templates = ParseTemplates(std::get<std::string>(value));
             if (templates.ok()) return std::string();
             const std::string message(templates.status().message());
             return message.substr(0, message.rfind(", got "));
           },
       .relevant_when = {log_linear}},
      {.key = "model.history",
       .type = ParamType::kString,
       .default_value = "none",
       .doc = "What of the document before the target is read: all its words, its last "
              "model.history_window ones, those that followed the last word. kneser_ney mixes them "
              "linearly, log_linear weighs them like other evidence.",
       .choices = {"none", "all", "recent", "followers", "all+recent", "all+followers",
                   "recent+followers", "all+recent+followers"},
       .relevant_when = {reads_history}},
      {.key = "model.history_window",
       .type = ParamType::kInt,
       .default_value = int64_t{200},
       .unit = "tokens",
       .doc = "How many tokens of a document are its recent ones.",
       .min = 1,
       .max = 1e6,
       .relevant_when = {reads_history,
                         {.key = "model.history",
                          .any_of = {"recent", "all+recent", "recent+followers",
                                     "all+recent+followers"}}}},
      {.key = "model.unigram_gain",
       .type = ParamType::kBool,
       .default_value = false,
       .doc = "A column of plain token frequencies over those of the chain, with a gain.",
       .relevant_when = {log_linear}},
      {.key = "model.seen_gains",
       .type = ParamType::kBool,
       .default_value = false,
       .doc = "A second gain for each template, of whether a token was seen in a context at all.",
       .relevant_when = {log_linear}},
      {.key = "model.gain_classes",
       .type = ParamType::kString,
       .default_value = "count",
       .doc = "Gains of a template: nine by how often a context was seen (count), or one.",
       .choices = {"count", "one"},
       .relevant_when = {log_linear}},
      {.key = "model.dense",
       .type = ParamType::kString,
       .default_value = "none",
       .doc = "Dense evidence beside n-grams, weighed like other evidence: x codes of single "
              "tokens, c context vectors of single tokens, r the mean code of the last "
              "model.dense_radius tokens.",
       .choices = {"none", "x", "c", "r", "x+c", "x+r", "c+r", "x+c+r"},
       .relevant_when = {log_linear}},
      {.key = "model.dense_bits",
       .type = ParamType::kInt,
       .default_value = int64_t{64},
       .unit = "dimensions",
       .doc = "Width of the codes of dense evidence.",
       .min = 2,
       .max = 1024,
       .consistent = [](const ParamView& p) { return CheckCodesSuffice(p, "model.dense_bits"); },
       .relevant_when = {log_linear, has_dense}},
      {.key = "model.dense_lags",
       .type = ParamType::kInt,
       .default_value = int64_t{4},
       .unit = "tokens",
       .doc = "How many tokens before the target have a code as dense evidence.",
       .min = 1,
       .max = 64,
       .relevant_when = {log_linear, DenseHas("x")}},
      {.key = "model.dense_context_lags",
       .type = ParamType::kInt,
       .default_value = int64_t{3},
       .unit = "tokens",
       .doc = "How many tokens before the target have a context vector as dense evidence.",
       .min = 1,
       .max = 64,
       .relevant_when = {log_linear, DenseHas("c")}},
      {.key = "model.dense_radius",
       .type = ParamType::kInt,
       .default_value = int64_t{32},
       .unit = "tokens",
       .doc = "How many tokens the mean code of dense evidence covers.",
       .min = 1,
       .max = 1024,
       .relevant_when = {log_linear, DenseHas("r")}},
      {.key = "model.network",
       .type = ParamType::kString,
       .default_value = "none",
       .doc =
           "A network beside the evidence, trained with every target left out of the counts that "
           "it is trained on: a transformer, hidden layers over the embeddings of the last tokens "
           "side by side (feed_forward), or self-attentive feed-forward units that are solved "
           "explicitly first (saffu; what it counted keeps the target). Without one, steps train "
           "what model.trained says.",
       .choices = {"none", "feed_forward", "saffu", "transformer"},
       .consistent =
           [](const ParamView& p) {
             const bool fits = p.String("model.network") == "none" || p.Int("train.steps") > 0;
             return fits ? "" : "want none, or train.steps of at least 1 to train it";
           },
       .relevant_when = {log_linear}},
      {.key = "model.trained",
       .type = ParamType::kString,
       .default_value = "gains",
       .doc = "What steps train without a network: the gains, the entries of the rows that they "
              "weigh, or the tables of dense evidence; the others stay. Rows want sgd with a rate "
              "of about 10, tables sgd with 100: a step tells little of each entry.",
       .choices = {"gains", "rows", "dense"},
       .consistent =
           [](const ParamView& p) {
             const bool has_rows =
                 p.Int("model.order") > 1 || p.String("model.templates") != "none";
             const std::string& trained = p.String("model.trained");
             if (trained == "rows" && !has_rows) {
               return "want gains, or a model.order of at least 2 to have rows";
             }
             return trained == "dense" && p.String("model.dense") == "none"
                        ? "want gains or rows, or a model.dense to train"
                        : "";
           },
       .relevant_when = {log_linear,
                         {.key = "model.network", .any_of = {"none"}},
                         {.key = "train.steps", .at_least = 1}}},
      {.key = "model.join",
       .type = ParamType::kString,
       .default_value = "product",
       .doc = "Logits of evidence and network added up, the network trained on the rest (product), "
              "or their probabilities mixed, each trained alone (mixture).",
       .choices = {"product", "mixture"},
       .relevant_when = {log_linear, has_network}},
      {.key = "model.evidence",
       .type = ParamType::kString,
       .default_value = "frozen",
       .doc = "Whether the gains of the evidence in a product stay what was fitted, or are trained "
              "along with the network, once it is joined.",
       .choices = {"frozen", "trained"},
       .relevant_when = {log_linear, has_network, is_product}},
      {.key = "model.network_alone",
       .type = ParamType::kDouble,
       .default_value = 0.0,
       .doc = "Share of the steps, the first ones, that train the network of a product without the "
              "evidence: it learns faster before evidence leaves it little to explain.",
       .min = 0,
       .max = 1,
       .max_exclusive = true,
       .relevant_when = {log_linear, has_network, is_product}},
      {.key = "model.evidence_scale",
       .type = ParamType::kDouble,
       .default_value = 1.0,
       .doc = "What the logits of the evidence are multiplied by in a product.",
       .min = 0,
       .max = 10,
       .relevant_when = {log_linear, has_network, is_product}},
      {.key = "model.network_scale",
       .type = ParamType::kDouble,
       .default_value = 1.0,
       .doc = "What the logits of the network are multiplied by in a product.",
       .min = 0,
       .max = 10,
       .min_exclusive = true,
       .relevant_when = {log_linear, has_network, is_product}},
      {.key = "model.scales",
       .type = ParamType::kString,
       .default_value = "given",
       .doc =
           "What weighs evidence and network in the product that is scored: the scales that it was "
           "trained with, or two fitted to the validation split.",
       .choices = {"given", "fitted"},
       .relevant_when = {log_linear, has_network, is_product}},
      {.key = "model.network_width",
       .type = ParamType::kInt,
       .default_value = int64_t{128},
       .unit = "dimensions",
       .doc =
           "Width of the network's embeddings, or bits of saffu's ciphers: a multiple of 32, the "
           "width of a head. Hidden units are twice as many.",
       .min = 32,
       .max = 2048,
       .validate =
           [](const ParamValue& value) {
             return std::get<int64_t>(value) % 32 == 0 ? "" : "want a multiple of 32";
           },
       .relevant_when = {log_linear, has_network}},
      {.key = "model.network_layers",
       .type = ParamType::kInt,
       .default_value = int64_t{2},
       .unit = "layers",
       .doc = "Layers of the network.",
       .min = 1,
       .max = 24,
       .relevant_when = {log_linear, has_network}},
      {.key = "model.network_context",
       .type = ParamType::kInt,
       .default_value = int64_t{64},
       .unit = "tokens",
       .doc =
           "How far the network looks back; sequences of so many targets make up a batch. "
           "feed_forward and saffu have weights of their own for each of these tokens: 4 to 8 are "
           "usual.",
       .min = 2,
       .max = 1024,
       .relevant_when = {log_linear, has_network}},
      {.key = "model.network_dropout",
       .type = ParamType::kDouble,
       .default_value = 0.1,
       .doc = "Share of the network's activations that training leaves out.",
       .min = 0,
       .max = 1,
       .max_exclusive = true,
       .relevant_when = {log_linear, has_drawn_network}},
      {.key = "model.network_tied",
       .type = ParamType::kBool,
       .default_value = true,
       .doc = "Whether the network's logits come from its embeddings, or from a matrix of their "
              "own.",
       .relevant_when = {log_linear, has_drawn_network}},
  };
}

}  // namespace saffron
