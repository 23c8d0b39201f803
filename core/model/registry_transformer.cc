// model.* of the transformer and of the MLP classifier made from its pieces; the equations stand in
// core/transformer/transformer_shape.h.

#include "absl/strings/str_cat.h"
#include "core/model/registry_experts.h"
#include "core/model/registry_families.h"
#include "core/model/transformer_sizes.h"

namespace saffron {
namespace {

std::string CheckHeads(const ParamView& p) {
  const int64_t width = p.Int("model.hidden_width"), heads = p.Int("model.heads");
  if (p.Int("model.head_dim") > 0 || width % heads == 0) return "";
  return absl::StrCat("want a divisor of model.hidden_width (", width,
                      "), or model.head_dim given");
}

std::string CheckHeadDim(const ParamView& p) {
  if (p.String("model.positions") != "rope") return "";
  const int64_t dim =
      HeadDim(p.Int("model.hidden_width"), p.Int("model.heads"), p.Int("model.head_dim"));
  return dim % 2 == 0
             ? ""
             : absl::StrCat("want an even number with model.positions rope (it is ", dim, " here)");
}

std::string CheckKvHeads(const ParamView& p) {
  const int64_t kv = p.Int("model.kv_heads"), heads = p.Int("model.heads");
  return kv == 0 || heads % kv == 0 ? ""
                                    : absl::StrCat("want a divisor of model.heads (", heads, ")");
}

}  // namespace

std::vector<ParamSpec> TransformerParams() {
  const Condition transformer = ModelTypeIs({"transformer"});
  const Condition either = ModelTypeIs({"transformer", "mlp"});
  std::vector<ParamSpec> params = {
      {.key = "model.hidden_width",
       .type = ParamType::kInt,
       .default_value = int64_t{128},
       .unit = "dimensions",
       .doc = "Width of the residual stream of a transformer, or of the layers of an mlp.",
       .min = 1,
       .max = 4096,
       .relevant_when = {either}},
      {.key = "model.heads",
       .type = ParamType::kInt,
       .default_value = int64_t{4},
       .doc = "Attention heads of a layer.",
       .min = 1,
       .max = 256,
       .consistent = CheckHeads,
       .relevant_when = {transformer}},
      {.key = "model.kv_heads",
       .type = ParamType::kInt,
       .default_value = int64_t{0},
       .doc = "Heads that have keys and values of their own; the others share them. 0: all.",
       .min = 0,
       .max = 256,
       .consistent = CheckKvHeads,
       .relevant_when = {transformer}},
      {.key = "model.head_dim",
       .type = ParamType::kInt,
       .default_value = int64_t{0},
       .unit = "dimensions",
       .doc = "Width of a head's query, key and value. 0: model.hidden_width / model.heads.",
       .min = 0,
       .max = 1024,
       .consistent = CheckHeadDim,
       .relevant_when = {transformer}},
      {.key = "model.mlp",
       .type = ParamType::kString,
       .default_value = "gelu",
       .doc = "Hidden units of the MLP; geglu and swiglu multiply them with a linear gate.",
       .choices = {"relu", "gelu", "gelu_tanh", "geglu", "swiglu"},
       .relevant_when = {either}},
      {.key = "model.mlp_width",
       .type = ParamType::kInt,
       .default_value = int64_t{0},
       .unit = "units",
       .doc = "Hidden units of a layer's MLP. 0: four times model.hidden_width; gated, two thirds "
              "of that, for as many parameters.",
       .min = 0,
       .max = 16384,
       .relevant_when = {transformer}},
      {.key = "model.unit_bias",
       .type = ParamType::kString,
       .default_value = "none",
       .doc = "A learned number for each hidden unit, multiplied with it or added to it.",
       .choices = {"none", "multiplicative", "additive"},
       .relevant_when = {transformer}},
      {.key = "model.norm",
       .type = ParamType::kString,
       .default_value = "rms",
       .doc = "What precedes every sublayer: RMSNorm or LayerNorm.",
       .choices = {"rms", "layer"},
       .relevant_when = {transformer}},
      {.key = "model.positions",
       .type = ParamType::kString,
       .default_value = "rope",
       .doc = "How a transformer knows the order of tokens: rotary queries and keys, scores that "
              "fall with distance (alibi), learned position vectors, or only by the causal mask.",
       .choices = {"rope", "alibi", "learned", "none"},
       .relevant_when = {transformer}},
      {.key = "model.tie",
       .type = ParamType::kBool,
       .default_value = true,
       .doc = "Whether the readout is the embedding's transpose. It has a bias of its own.",
       .relevant_when = {transformer}},
      {.key = "model.biases",
       .type = ParamType::kBool,
       .default_value = false,
       .doc = "Biases in attention and MLP.",
       .relevant_when = {transformer}},
      {.key = "model.window",
       .type = ParamType::kInt,
       .default_value = int64_t{64},
       .unit = "tokens",
       .doc =
           "Tokens of a training sequence; documents follow each other in it. Scored targets see "
           "at least half of it.",
       .min = 2,
       .max = 4096,
       .relevant_when = {transformer}},
      {.key = "model.packing",
       .type = ParamType::kString,
       .default_value = "stream",
       .doc = "Whether a token sees the documents before its own in its window, in training and "
              "in evaluation (stream), or its own alone, with positions and experts' slots counted "
              "from where that begins.",
       .choices = {"stream", "document"},
       .relevant_when = {transformer}},
      {.key = "model.dropout",
       .type = ParamType::kDouble,
       .default_value = 0.0,
       .doc = "Share of the embedding's and of every sublayer's output that a step drops.",
       .min = 0,
       .max = 1,
       .max_exclusive = true,
       .relevant_when = {either, {.key = "train.steps", .at_least = 1}}},
  };
  const std::vector<ParamSpec> experts = ExpertParams();
  params.insert(params.end(), experts.begin(), experts.end());
  return params;
}

}  // namespace saffron
