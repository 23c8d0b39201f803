#include "core/train/variant_shape.h"

#include <algorithm>
#include <optional>

#include "absl/strings/str_cat.h"
#include "core/base/status_macros.h"
#include "core/model/transformer_sizes.h"
#include "core/train/transformer_experts.h"
#include "core/transformer/kind_names.h"

namespace saffron {
namespace {

// Compares what a model has with what a variant wants, key by key.
class Comparison {
 public:
  explicit Comparison(const std::string& how) : how_(how) {}

  // `op`: the operator that grows it; empty where none does. `layer`: the one compared, where
  // layers are to differ.
  template <typename T>
  void Size(const char* key, T has, T wants, const std::string& op,
            std::optional<size_t> layer = {}) {
    if (has == wants) return;
    const bool grows = !op.empty() && has < wants;
    const std::string at = layer ? absl::StrCat("@", *layer) : "";
    Differ(key, absl::StrCat(has, layer ? absl::StrCat(" in layer ", *layer) : ""),
           absl::StrCat(wants),
           grows ? absl::StrCat("; ", op, ":", wants, at, " in init_from.derive would make it so")
                 : "; a model can grow exactly, but not shrink or change");
  }
  template <typename Kind>
  void Same(const char* key, Kind has, Kind wants) {
    if (has != wants) Differ(key, NameOf(has), NameOf(wants), "");
  }
  void Same(const char* key, bool has, bool wants) {
    if (has != wants) Differ(key, has ? "true" : "false", wants ? "true" : "false", "");
  }
  const absl::Status& status() const { return status_; }

 private:
  void Differ(const char* key, const std::string& has, const std::string& wants,
              const std::string& advice) {
    if (!status_.ok()) return;
    status_ = absl::FailedPreconditionError(
        absl::StrCat(key, ": the parent's model", how_.empty() ? "" : " ", how_, " has ", has,
                     ", this variant wants ", wants, advice));
  }

  const std::string& how_;
  absl::Status status_;
};

// Of layer i, which both have.
void CompareLayer(const TransformerShape& given, const TransformerShape& wanted, size_t i,
                  Comparison& compare) {
  const TransformerLayerShape &has = given.layers[i], &wants = wanted.layers[i];
  const auto size = [&](const char* key, const std::string& op, auto of) {
    const bool alike = std::all_of(wanted.layers.begin(), wanted.layers.end(),
                                   [&](const auto& layer) { return of(layer) == of(wants); });
    compare.Size(key, of(has), of(wants), op, alike ? std::nullopt : std::optional(i));
  };
  using Layer = TransformerLayerShape;
  size("model.heads", "heads", [](const Layer& layer) { return layer.heads; });
  size("model.kv_heads", "", [](const Layer& layer) { return layer.kv_heads; });
  size("model.head_dim", "key", [](const Layer& layer) { return layer.key_dim; });
  size("model.value_dim", "value", [](const Layer& layer) { return layer.value_dim; });
  size("model.mlp_width", "mlp", [](const Layer& layer) { return layer.mlp_width; });
  compare.Size("model.experts", has.moe.experts, wants.moe.experts,
               has.moe.sparse() ? "" : "experts");
  if (!has.moe.sparse()) return;
  compare.Size("model.expert_top", has.moe.top, wants.moe.top, "");
  compare.Same("model.sparse_dense", has.moe.dense, wants.moe.dense);
}

}  // namespace

TransformerShape ShapeOf(const ResolvedVariant& v, int vocab) {
  TransformerShape shape;
  shape.vocab = vocab;
  shape.width = static_cast<int>(v.Int("model.hidden_width"));
  shape.context = static_cast<int>(v.Int("model.window"));
  shape.norm = KindOf<NormKind>(v.String("model.norm"));
  shape.positions = KindOf<PositionKind>(v.String("model.positions"));
  shape.mlp = KindOf<MlpKind>(v.String("model.mlp"));
  shape.mlp_unit_bias = KindOf<MlpUnitBias>(v.String("model.unit_bias"));
  shape.biases = v.Bool("model.biases");
  shape.tied = v.Bool("model.tie");
  shape.readout_bias = true;
  for (int64_t i = 0; i < v.Int("model.layers"); ++i) {
    const LayerSizes sizes = SizesOfLayer(v, i);
    TransformerLayerShape& layer = shape.layers.emplace_back();
    layer.heads = static_cast<int>(sizes.heads);
    layer.kv_heads = static_cast<int>(sizes.kv_heads);
    layer.key_dim = static_cast<int>(sizes.key_dim);
    layer.value_dim = static_cast<int>(sizes.value_dim);
    layer.mlp_width = static_cast<int>(sizes.mlp_width);
    if (shape.positions == PositionKind::kRope) {
      layer.rope_frequencies = RopeFrequencies(layer.key_dim);
    }
    if (shape.positions == PositionKind::kAlibi) layer.alibi_slopes = AlibiSlopes(layer.heads);
  }
  AddExperts(v, shape);
  return shape;
}

absl::StatusOr<TransformerShape> AdaptShape(const TransformerShape& given,
                                            const ResolvedVariant& variant,
                                            const std::string& how) {
  const TransformerShape wants = ShapeOf(variant, given.vocab);
  Comparison compare(how);
  compare.Same("model.norm", given.norm, wants.norm);
  compare.Same("model.positions", given.positions, wants.positions);
  compare.Same("model.mlp", given.mlp, wants.mlp);
  compare.Same("model.unit_bias", given.mlp_unit_bias, wants.mlp_unit_bias);
  compare.Same("model.biases", given.biases, wants.biases);
  compare.Same("model.tie", given.tied, wants.tied);
  compare.Size("model.hidden_width", given.width, wants.width, "hidden");
  if (given.positions == PositionKind::kLearned) {
    compare.Size("model.window", given.context, wants.context, "");
  }
  for (size_t i = 0; i < std::min(given.layers.size(), wants.layers.size()); ++i) {
    CompareLayer(given, wants, i, compare);
  }
  compare.Size("model.layers", given.layers.size(), wants.layers.size(), "layers");
  RETURN_IF_ERROR(compare.status());

  TransformerShape shape = given;
  shape.context = wants.context;
  for (size_t i = 0; i < shape.layers.size(); ++i) shape.layers[i].moe = wants.layers[i].moe;
  return shape;
}

}  // namespace saffron
