#include "core/transformer/transformer_shape.h"

#include <bit>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "core/base/check.h"
#include "core/base/status_macros.h"

namespace saffron {
namespace {

absl::Status WantAtLeastOne(const std::string& what, int64_t value) {
  if (value >= 1) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(what, ": want at least 1, got ", value));
}

absl::Status WantEpsilon(const std::string& what, double value) {
  if (value >= 0 && std::isfinite(value)) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(what, ": want at least 0, got ", value));
}

absl::Status WantCount(const std::string& what, int64_t want, int64_t got) {
  if (want == got) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(what, ": want ", want, " of them, got ", got));
}

absl::Status CheckLayer(const TransformerShape& shape, size_t index) {
  const TransformerLayerShape& layer = shape.layers[index];
  const std::string name = absl::StrCat("layers.", index, ".");
  for (const auto& [what, value] : {std::pair{"heads", layer.heads},
                                    {"kv_heads", layer.kv_heads},
                                    {"key_dim", layer.key_dim},
                                    {"value_dim", layer.value_dim},
                                    {"mlp_width", layer.mlp_width}}) {
    RETURN_IF_ERROR(WantAtLeastOne(name + what, value));
  }
  RETURN_IF_ERROR(WantEpsilon(name + "norm1_epsilon", layer.norm1_epsilon));
  RETURN_IF_ERROR(WantEpsilon(name + "norm2_epsilon", layer.norm2_epsilon));
  if (layer.heads % layer.kv_heads != 0) {
    return absl::InvalidArgumentError(absl::StrCat(name, "kv_heads: want a divisor of heads (",
                                                   layer.heads, "), got ", layer.kv_heads));
  }
  if (shape.positions == PositionKind::kRope && layer.key_dim % 2 != 0) {
    return absl::InvalidArgumentError(
        absl::StrCat(name, "key_dim: want an even number, for rotary positions turn pairs; got ",
                     layer.key_dim));
  }
  RETURN_IF_ERROR(WantCount(name + "rope_frequencies",
                            shape.positions == PositionKind::kRope ? layer.key_dim / 2 : 0,
                            static_cast<int64_t>(layer.rope_frequencies.size())));
  RETURN_IF_ERROR(CheckMoe(name, layer.moe, shape.context, shape.causal));
  return WantCount(name + "alibi_slopes", shape.positions == PositionKind::kAlibi ? layer.heads : 0,
                   static_cast<int64_t>(layer.alibi_slopes.size()));
}

// Hands out stretches of the arena one after the other.
class Places {
 public:
  explicit Places(TransformerLayout& layout) : layout_(layout) {}

  int64_t Matrix(const std::string& name, int64_t rows, int64_t cols,
                 TensorRole role = TensorRole::kHidden) {
    const int64_t begin = layout_.size;
    layout_.tensors.push_back({name, begin, rows, cols, role});
    layout_.size += rows * cols;
    return begin;
  }
  int64_t Vector(const std::string& name, int64_t size, bool exists = true) {
    return exists ? Matrix(name, 1, size, TensorRole::kVector) : -1;
  }
  TransformerLayout::Norm Norm(const std::string& name, const TransformerShape& shape) {
    TransformerLayout::Norm norm;
    norm.gain = Vector(name + ".gain", shape.width);
    norm.bias = Vector(name + ".bias", shape.width, shape.norm == NormKind::kLayer);
    return norm;
  }

 private:
  TransformerLayout& layout_;
};

MlpPlaces LayOutMlp(const std::string& name, const TransformerShape& shape, int64_t p,
                    Places& places) {
  const int64_t h = shape.width;
  MlpPlaces at;
  at.w1 = places.Matrix(name + "w1", h, p);
  at.b1 = places.Vector(name + "b1", p, shape.biases);
  if (IsGated(shape.mlp)) {
    at.w1_linear = places.Matrix(name + "w1_linear", h, p);
    at.b1_linear = places.Vector(name + "b1_linear", p, shape.biases);
  }
  at.unit_bias = places.Vector(name + "unit_bias", p, shape.mlp_unit_bias != MlpUnitBias::kNone);
  at.w2 = places.Matrix(name + "w2", p, h);
  at.b2 = places.Vector(name + "b2", h, shape.biases);
  return at;
}

MoePlaces LayOutMoe(const std::string& name, const TransformerShape& shape,
                    const TransformerLayerShape& size, Places& places) {
  MoePlaces at;
  at.router = places.Matrix(name + "router", shape.width, size.moe.experts);
  for (int e = 0; e < size.moe.experts; ++e) {
    at.experts.push_back(
        LayOutMlp(absl::StrCat(name, "experts.", e, "."), shape, size.mlp_width, places));
  }
  if (size.moe.dense == DensePlace::kNone) return at;
  const TransformerLayout::Norm norm = places.Norm(name + "dense_norm", shape);
  at.dense_gain = norm.gain;
  at.dense_bias = norm.bias;
  at.dense = LayOutMlp(name + "dense.", shape, size.mlp_width, places);
  return at;
}

TransformerLayout::Layer LayOutLayer(const std::string& name, const TransformerShape& shape,
                                     const TransformerLayerShape& size, Places& places) {
  const int64_t h = shape.width;
  TransformerLayout::Layer at;
  at.norm1 = places.Norm(name + "norm1", shape);
  const std::string attn = name + "attn.";
  at.wq = places.Matrix(attn + "wq", h, size.query_width());
  at.bq = places.Vector(attn + "bq", size.query_width(), shape.biases);
  at.wk = places.Matrix(attn + "wk", h, size.key_width());
  at.bk = places.Vector(attn + "bk", size.key_width(), shape.biases);
  at.wv = places.Matrix(attn + "wv", h, size.value_width());
  at.bv = places.Vector(attn + "bv", size.value_width(), shape.biases);
  at.wo = places.Matrix(attn + "wo", size.attended_width(), h);
  at.bo = places.Vector(attn + "bo", h, shape.biases);
  at.norm2 = places.Norm(name + "norm2", shape);
  if (size.moe.sparse()) {
    at.moe = LayOutMoe(name + "moe.", shape, size, places);
    return at;
  }
  at.mlp = LayOutMlp(name + "mlp.", shape, size.mlp_width, places);
  return at;
}

}  // namespace

std::vector<double> RopeFrequencies(int key_dim) {
  std::vector<double> frequencies(key_dim / 2);
  for (int i = 0; i < key_dim / 2; ++i) frequencies[i] = std::pow(1e4, -2.0 * i / key_dim);
  return frequencies;
}

std::vector<double> AlibiSlopes(int heads) {
  CHECK(heads >= 1) << "slopes for " << heads << " heads";
  const int power = static_cast<int>(std::bit_floor(static_cast<unsigned>(heads)));
  std::vector<double> slopes;
  for (int e = 1; e <= power; ++e) slopes.push_back(std::exp2(-8.0 * e / power));
  for (int e = 1; static_cast<int>(slopes.size()) < heads; e += 2) {
    slopes.push_back(std::exp2(-8.0 * e / (2 * power)));
  }
  return slopes;
}

absl::Status CheckShape(const TransformerShape& shape) {
  RETURN_IF_ERROR(WantAtLeastOne("vocab", shape.vocab));
  RETURN_IF_ERROR(WantAtLeastOne("width", shape.width));
  RETURN_IF_ERROR(WantAtLeastOne("context", shape.context));
  RETURN_IF_ERROR(WantEpsilon("final_epsilon", shape.final_epsilon));
  for (size_t i = 0; i < shape.layers.size(); ++i) RETURN_IF_ERROR(CheckLayer(shape, i));
  return absl::OkStatus();
}

TransformerLayout LayOut(const TransformerShape& shape) {
  TransformerLayout layout;
  Places places(layout);
  layout.tok_embed = places.Matrix("tok_embed", shape.vocab, shape.width, TensorRole::kEmbedding);
  if (shape.positions == PositionKind::kLearned) {
    layout.pos_embed =
        places.Matrix("pos_embed", shape.context, shape.width, TensorRole::kEmbedding);
  }
  for (size_t i = 0; i < shape.layers.size(); ++i) {
    layout.layers.push_back(
        LayOutLayer(absl::StrCat("layers.", i, "."), shape, shape.layers[i], places));
  }
  if (shape.final_norm) layout.final_norm = places.Norm("final_norm", shape);
  if (!shape.tied) {
    layout.readout = places.Matrix("readout", shape.width, shape.vocab, TensorRole::kReadout);
  }
  layout.readout_bias = places.Vector("readout_bias", shape.vocab, shape.readout_bias);
  return layout;
}

ParameterCount CountParameters(const TransformerShape& shape, const TransformerLayout& layout) {
  ParameterCount count{.total = layout.size, .active = layout.size};
  for (size_t i = 0; i < shape.layers.size(); ++i) {
    const MoeShape& moe = shape.layers[i].moe;
    if (!moe.sparse()) continue;
    // Experts are of equal size and lie one after the other.
    const std::vector<MlpPlaces>& experts = layout.layers[i].moe.experts;
    count.active -= (moe.experts - moe.top) * (experts[1].w1 - experts[0].w1);
  }
  return count;
}

}  // namespace saffron
