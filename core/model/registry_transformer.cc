// model.* of the transformer and of the MLP classifier made from its pieces; the equations stand in
// core/transformer/transformer_shape.h.

#include "absl/strings/str_cat.h"
#include "core/model/registry_experts.h"
#include "core/model/registry_families.h"
#include "core/model/transformer_sizes.h"

namespace saffron {
namespace {

// What `wanted` says of the first layer of which it says anything.
template <typename Wanted>
std::string OfLayers(const ParamView& p, Wanted wanted) {
  for (int64_t layer = 0; layer < p.Int("model.layers"); ++layer) {
    if (std::string text = wanted(layer); !text.empty()) return text;
  }
  return "";
}

std::string CheckHeads(const ParamView& p) {
  const int64_t width = p.Int("model.hidden_width");
  return OfLayers(p, [&](int64_t layer) -> std::string {
    if (NumberAt(p["model.head_dim"], layer) > 0) return "";
    if (width % NumberAt(p["model.heads"], layer) == 0) return "";
    return absl::StrCat("want a divisor of model.hidden_width (", width,
                        "), or model.head_dim given");
  });
}

std::string CheckHeadDim(const ParamView& p) {
  if (p.String("model.positions") != "rope") return "";
  return OfLayers(p, [&](int64_t layer) -> std::string {
    const int64_t dim = SizesOfLayer(p, layer).key_dim;
    if (dim % 2 == 0) return "";
    return absl::StrCat("want an even number with model.positions rope (it is ", dim, " here)");
  });
}

std::string CheckKvHeads(const ParamView& p) {
  return OfLayers(p, [&](int64_t layer) -> std::string {
    const LayerSizes sizes = SizesOfLayer(p, layer);
    if (sizes.heads % sizes.kv_heads == 0) return "";
    return absl::StrCat("want a divisor of model.heads (", sizes.heads, ")");
  });
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
       .one_for_each = "model.layers",
       .consistent = CheckHeads,
       .relevant_when = {transformer}},
      {.key = "model.kv_heads",
       .type = ParamType::kInt,
       .default_value = int64_t{0},
       .doc = "Heads that have keys and values of their own; the others share them. 0: all.",
       .min = 0,
       .max = 256,
       .one_for_each = "model.layers",
       .consistent = CheckKvHeads,
       .relevant_when = {transformer}},
      {.key = "model.head_dim",
       .type = ParamType::kInt,
       .default_value = int64_t{0},
       .unit = "dimensions",
       .doc = "Width of a head's query and key. 0: model.hidden_width / model.heads.",
       .min = 0,
       .max = 1024,
       .one_for_each = "model.layers",
       .consistent = CheckHeadDim,
       .relevant_when = {transformer}},
      {.key = "model.value_dim",
       .type = ParamType::kInt,
       .default_value = int64_t{0},
       .unit = "dimensions",
       .doc = "Width of a head's value. 0: that of its query and key.",
       .min = 0,
       .max = 1024,
       .one_for_each = "model.layers",
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
       .one_for_each = "model.layers",
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
