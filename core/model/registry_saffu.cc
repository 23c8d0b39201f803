// model.* of the self-attentive feed-forward unit; the equations stand in
// core/layers/saffu_layer.h.

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "core/model/registry_families.h"

namespace saffron {
namespace {

Condition StreamsHave(char stream) {
  std::vector<std::string> having;
  for (const char* streams : {"x", "x+c", "x+r", "x+c+r"}) {
    if (std::string_view(streams).find(stream) != std::string_view::npos) having.push_back(streams);
  }
  return {.key = "model.streams", .any_of = having};
}

int64_t VocabularySize(const ParamView& params) {
  return params.String("data.tokenizer") == "byte" ? 257 : params.Int("data.vocab");
}

std::string CheckLayers(const ParamView& params) {
  if (params.String("model.type") != "saffu" || params.Int("model.layers") <= 8) return "";
  return "want at most 8 for saffu";
}

std::string CheckWidth(const ParamView& params) {
  if (params.String("model.head") == "sum" &&
      params.Int("model.width") != params.Int("model.bits")) {
    return absl::StrCat("want model.bits (", params.Int("model.bits"),
                        ") when model.head is sum, which adds keys of equal width");
  }
  return CheckCodesSuffice(params, "model.width");
}

}  // namespace

// A code of b bits names fewer than 2^b types.
std::string CheckCodesSuffice(const ParamView& params, std::string_view key) {
  const int64_t vocab = VocabularySize(params);
  int64_t bits = 1;
  while ((int64_t{1} << bits) <= vocab) ++bits;
  if (params.Int(key) >= bits) return "";
  return absl::StrCat("want at least ", bits, ", for ", vocab, " types to have codes of their own");
}

std::vector<ParamSpec> SaffuParams() {
  const Condition saffu = ModelTypeIs({"saffu"});
  return {
      {.key = "model.bits",
       .type = ParamType::kInt,
       .default_value = int64_t{64},
       .unit = "dimensions",
       .doc = "Width b of a bit-cipher code, and so of a key.",
       .min = 2,
       .max = 1024,
       .consistent = [](const ParamView& p) { return CheckCodesSuffice(p, "model.bits"); },
       .relevant_when = {saffu}},
      {.key = "model.streams",
       .type = ParamType::kString,
       .default_value = "x+c",
       .doc = "What the keys are made of: x codes of single tokens, c context vectors of single "
              "tokens, "
              "r the mean code of the last model.radius tokens.",
       .choices = {"x", "x+c", "x+r", "x+c+r"},
       .relevant_when = {saffu}},
      {.key = "model.context_lags",
       .type = ParamType::kInt,
       .default_value = int64_t{1},
       .unit = "tokens",
       .doc = "How many tokens before the target have a context-vector key.",
       .min = 1,
       .max = 64,
       .relevant_when = {saffu, StreamsHave('c')}},
      {.key = "model.radius",
       .type = ParamType::kInt,
       .default_value = int64_t{32},
       .unit = "tokens",
       .doc = "How many tokens the mean code of stream r covers.",
       .min = 1,
       .max = 1024,
       .relevant_when = {saffu, StreamsHave('r')}},
      {.key = "model.features",
       .type = ParamType::kString,
       .default_value = "l1",
       .doc =
           "Codes scaled to L1 norm 1 (l1), left as 0 and 1 (binary), or mixed with positive noise "
           "(noisy).",
       .choices = {"l1", "binary", "noisy"},
       .relevant_when = {saffu}},
      {.key = "model.noise",
       .type = ParamType::kDouble,
       .default_value = 0.1,
       .doc = "Share of a code's mass that is noise.",
       .min = 0,
       .max = 1,
       .min_exclusive = true,
       .max_exclusive = true,
       .relevant_when = {saffu, {.key = "model.features", .any_of = {"noisy"}}}},
      {.key = "model.head",
       .type = ParamType::kString,
       .default_value = "concat",
       .doc = "Keys side by side (concat: rows of U for each) or added up (sum: rows shared).",
       .choices = {"concat", "sum"},
       .relevant_when = {saffu}},
      {.key = "model.attention",
       .type = ParamType::kString,
       .default_value = "solved",
       .doc = "Attention from query and key (solved: the explicit solution gives its matrices, "
              "backpropagation trains them) or the same for every position (static).",
       .choices = {"solved", "static"},
       .relevant_when = {saffu}},
      {.key = "model.layers",
       .type = ParamType::kInt,
       .default_value = int64_t{1},
       .unit = "layers",
       .doc =
           "Layers. Of saffu (at most 8), all but the top one predict the code of the next token, "
           "which the layer above reads; of a transformer, attention and MLP; of an mlp, hidden "
           "ones.",
       .min = 1,
       .max = 48,
       .consistent = CheckLayers,
       .relevant_when = {ModelTypeIs({"saffu", "transformer", "mlp"})}},
      {.key = "model.width",
       .type = ParamType::kInt,
       .default_value = int64_t{64},
       .unit = "dimensions",
       .doc = "Width of the output of each layer below the top one.",
       .min = 2,
       .max = 1024,
       .consistent = CheckWidth,
       .relevant_when = {saffu, {.key = "model.layers", .at_least = 2}}},
  };
}

}  // namespace saffron
