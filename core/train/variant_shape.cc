#include "core/train/variant_shape.h"

#include <algorithm>

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

  // `op`: the operator that grows it; empty where none does.
  template <typename T>
  void Size(const char* key, T has, T wants, const std::string& op) {
    if (has == wants) return;
    const bool grows = !op.empty() && has < wants;
    Differ(key, absl::StrCat(has), absl::StrCat(wants),
           grows ? absl::StrCat("; ", op, ":", wants, " in init_from.derive would make it so")
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

void CompareLayer(const TransformerLayerShape& has, const TransformerLayerShape& wants,
                  Comparison& compare) {
  compare.Size("model.heads", has.heads, wants.heads, "heads");
  compare.Size("model.kv_heads", has.kv_heads, wants.kv_heads, "");
  compare.Size("model.head_dim", has.key_dim, wants.key_dim, "key");
  compare.Size("model.head_dim", has.value_dim, wants.value_dim, "value");
  compare.Size("model.mlp_width", has.mlp_width, wants.mlp_width, "mlp");
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
  TransformerLayerShape layer;
  layer.heads = static_cast<int>(v.Int("model.heads"));
  const auto kv_heads = static_cast<int>(v.Int("model.kv_heads"));
  layer.kv_heads = kv_heads == 0 ? layer.heads : kv_heads;
  layer.key_dim = layer.value_dim =
      static_cast<int>(HeadDim(shape.width, layer.heads, v.Int("model.head_dim")));
  layer.mlp_width =
      static_cast<int>(MlpWidth(shape.width, v.String("model.mlp"), v.Int("model.mlp_width")));
  if (shape.positions == PositionKind::kRope) {
    layer.rope_frequencies = RopeFrequencies(layer.key_dim);
  }
  if (shape.positions == PositionKind::kAlibi) layer.alibi_slopes = AlibiSlopes(layer.heads);
  shape.layers.assign(static_cast<size_t>(v.Int("model.layers")), layer);
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
    CompareLayer(given.layers[i], wants.layers[i], compare);
  }
  compare.Size("model.layers", given.layers.size(), wants.layers.size(), "layers");
  RETURN_IF_ERROR(compare.status());

  TransformerShape shape = given;
  shape.context = wants.context;
  for (size_t i = 0; i < shape.layers.size(); ++i) shape.layers[i].moe = wants.layers[i].moe;
  return shape;
}

}  // namespace saffron
