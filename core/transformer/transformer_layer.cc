#include "core/transformer/transformer_layer.h"

#include <algorithm>

#include "core/transformer/rotary.h"

namespace saffron {
namespace {

template <typename T>
const T* At(const T* params, int64_t begin) {
  return begin < 0 || params == nullptr ? nullptr : params + begin;
}

template <typename T>
PackedWeight<T> TakeWeight(int64_t in, int64_t out, bool train, Workspace<T>& workspace) {
  PackedWeight<T> w{in, out};
  w.forward = workspace.Take(PackedSize<T>(in, out));
  if (train) w.backward = workspace.Take(PackedSize<T>(out, in));
  return w;
}

template <typename T>
void PackWeight(const T* w, bool backward, const PackedWeight<T>& packed) {
  PackRight(packed.in, packed.out, w, packed.out, packed.forward);
  if (backward) PackRightTransposed(packed.out, packed.in, w, packed.out, packed.backward);
}

template <typename T>
void CopyRows(int64_t rows, int64_t n, Rows<T> from, Rows<T> to) {
  for (int64_t r = 0; r < rows; ++r) std::copy_n(from.row(r), n, to.row(r));
}

template <typename T>
Rows<T> From(Rows<T> x, int64_t row) {
  return {x.row(row), x.stride};
}

}  // namespace

template <typename T>
TransformerLayer<T>::TransformerLayer(const TransformerShape& shape,
                                      const TransformerLayout& layout, int index, const T* params,
                                      double dropout, const MoeTraining& moe, uint64_t seed,
                                      int64_t rows, bool train, Workspace<T>& workspace)
    : shape_(&shape),
      size_(&shape.layers[index]),
      places_(layout.layers[index]),
      index_(index),
      dropout_(dropout),
      seed_(seed) {
  const int64_t h = shape.width, p = size_->mlp_width;
  LayerWeights<T>& w = weights_;
  const bool gated = IsGated(shape.mlp);
  w.norm1 = {shape.norm, size_->norm1_epsilon, At(params, places_.norm1.gain),
             At(params, places_.norm1.bias)};
  w.norm2 = {shape.norm, size_->norm2_epsilon, At(params, places_.norm2.gain),
             At(params, places_.norm2.bias)};
  w.wq = TakeWeight(h, size_->query_width(), train, workspace);
  w.wk = TakeWeight(h, size_->key_width(), train, workspace);
  w.wv = TakeWeight(h, size_->value_width(), train, workspace);
  w.wo = TakeWeight(size_->attended_width(), h, train, workspace);
  if (size_->moe.sparse()) {
    moe_.emplace(shape, layout, index, params, moe, dropout, seed, rows, train, workspace);
  } else {
    w.w1 = TakeWeight(h, p, train, workspace);
    if (gated) w.w1_linear = TakeWeight(h, p, train, workspace);
    w.w2 = TakeWeight(p, h, train, workspace);
  }
  w.bq = At(params, places_.bq);
  w.bk = At(params, places_.bk);
  w.bv = At(params, places_.bv);
  w.bo = At(params, places_.bo);
  w.b1 = At(params, places_.b1);
  w.b1_linear = At(params, places_.b1_linear);
  w.b2 = At(params, places_.b2);
  w.units = {ActivationOf(shape.mlp), gated, shape.mlp_unit_bias, At(params, places_.unit_bias)};
  if (shape.positions == PositionKind::kRope) {
    T* const table = workspace.Take(int64_t{shape.context} * size_->key_dim);
    if (table != nullptr) FillRotaryTable<T>(size_->rope_frequencies, shape.context, table);
    w.rotary = table;
  }
  at_.x = workspace.TakeRows(rows, h);
  at_.n1 = workspace.TakeRows(rows, h);
  at_.q = workspace.TakeRows(rows, size_->query_width());
  at_.k = workspace.TakeRows(rows, size_->key_width());
  at_.v = workspace.TakeRows(rows, size_->value_width());
  at_.attended = workspace.TakeRows(rows, size_->attended_width());
  at_.x1 = workspace.TakeRows(rows, h);
  if (!moe_) {
    at_.n2 = workspace.TakeRows(rows, h);
    at_.a = workspace.TakeRows(rows, p);
    if (gated) at_.linear = workspace.TakeRows(rows, p);
    at_.units = workspace.TakeRows(rows, p);
  }
  if (dropout > 0) {
    at_.attention_mask = workspace.TakeRows(rows, h);
    at_.mlp_mask = workspace.TakeRows(rows, h);
  }
  for (NormState<T>* norm : {&at_.norm1, &at_.norm2}) {
    norm->scale = workspace.Take(rows);
    norm->mean = workspace.Take(rows);
  }
  at_.attention_weights = workspace.Take(
      rows * size_->heads * attention_shape(shape.context).template weights_stride<T>());
}

template <typename T>
AttentionShape TransformerLayer<T>::attention_shape(int64_t length) const {
  return {.length = length,
          .heads = size_->heads,
          .kv_heads = size_->kv_heads,
          .key_dim = size_->key_dim,
          .value_dim = size_->value_dim,
          .causal = shape_->causal,
          .slopes = size_->alibi_slopes.empty() ? nullptr : size_->alibi_slopes.data()};
}

template <typename T>
void TransformerLayer<T>::Pack(const T* params, bool backward) {
  PackWeight(params + places_.wq, backward, weights_.wq);
  PackWeight(params + places_.wk, backward, weights_.wk);
  PackWeight(params + places_.wv, backward, weights_.wv);
  PackWeight(params + places_.wo, backward, weights_.wo);
  if (moe_) return moe_->Pack(params, backward);
  PackWeight(params + places_.w1, backward, weights_.w1);
  if (weights_.units.gated) PackWeight(params + places_.w1_linear, backward, weights_.w1_linear);
  PackWeight(params + places_.w2, backward, weights_.w2);
}

template <typename T>
DropoutSite TransformerLayer<T>::Site(const Chunk& chunk, uint32_t which) const {
  return {.rate = chunk.step > 0 ? dropout_ : 0,
          .seed = seed_,
          .step = chunk.step,
          .site = 1 + 2 * static_cast<uint32_t>(index_) + which};
}

template <typename T>
void TransformerLayer<T>::Forward(const Chunk& chunk, Rows<T> out, T* attention_scratch,
                                  MoeLosses& losses) {
  const int64_t rows = chunk.rows(), h = shape_->width;
  const LayerWeights<T>& w = weights_;
  const bool drops = chunk.train && dropout_ > 0;
  // out += product, or out += mask * product (through `out`'s place for it).
  const auto add = [&](Rows<T> x, Rows<T> from, const PackedWeight<T>& weight, const T* bias,
                       uint32_t site, Rows<T> mask, Rows<T> to) {
    if (!drops) {
      CopyRows(rows, h, x, to);
      return LinearForwardAdd(rows, from, weight, bias, to);
    }
    LinearForward(rows, from, weight, bias, to);
    FillDropoutMask(Site(chunk, site), chunk.first_drawn, rows, h, mask);
    ApplyMask(rows, h, to, mask, to);
    for (int64_t r = 0; r < rows; ++r) AddToRows(1, h, x.row(r), From(to, r));
  };

  NormForward(rows, h, w.norm1, at_.x, at_.n1, at_.norm1);
  LinearForward(rows, at_.n1, w.wq, w.bq, at_.q);
  LinearForward(rows, at_.n1, w.wk, w.bk, at_.k);
  LinearForward(rows, at_.n1, w.wv, w.bv, at_.v);
  if (w.rotary != nullptr) {
    Rotate(rows, chunk.length, size_->heads, size_->key_dim / 2, w.rotary, at_.q);
    Rotate(rows, chunk.length, size_->kv_heads, size_->key_dim / 2, w.rotary, at_.k);
  }
  const AttentionShape attention = attention_shape(chunk.length);
  for (int64_t s = 0; s < chunk.sequences; ++s) {
    const int64_t row = s * chunk.length;
    AttentionForward(attention, From(at_.q, row), From(at_.k, row), From(at_.v, row),
                     From(at_.attended, row),
                     at_.attention_weights + s * attention.weights_size<T>(), attention_scratch);
  }
  add(at_.x, at_.attended, w.wo, w.bo, 0, at_.attention_mask, at_.x1);

  if (moe_) return moe_->Forward(chunk, at_.x1, out, losses);
  NormForward(rows, h, w.norm2, at_.x1, at_.n2, at_.norm2);
  LinearForward(rows, at_.n2, w.w1, w.b1, at_.a);
  if (w.units.gated) LinearForward(rows, at_.n2, w.w1_linear, w.b1_linear, at_.linear);
  MlpUnitsForward(rows, size_->mlp_width, w.units, at_.a, at_.linear, at_.units);
  add(at_.x1, at_.units, w.w2, w.b2, 1, at_.mlp_mask, out);
}

template <typename T>
void TransformerLayer<T>::Backward(const Chunk& chunk, Rows<T> dx, T* gradient,
                                   const LayerScratch<T>& scratch) {
  if (moe_) {
    moe_->Backward(chunk, dx, gradient, scratch.moe);
  } else {
    BackwardMlp(chunk, dx, gradient, scratch);
  }
  BackwardAttention(chunk, dx, gradient, scratch);
}

template <typename T>
void TransformerLayer<T>::BackwardMlp(const Chunk& chunk, Rows<T> dx, T* gradient,
                                      const LayerScratch<T>& scratch) {
  const int64_t rows = chunk.rows(), h = shape_->width, p = size_->mlp_width;
  const LayerWeights<T>& w = weights_;
  Rows<T> dy = dx;
  if (dropout_ > 0) {
    dy = scratch.dy;
    ApplyMask(rows, h, dx, at_.mlp_mask, dy);
  }
  LinearBackwardWeight(rows, at_.units, dy, p, h, gradient + places_.w2, In(gradient, places_.b2));
  LinearBackwardInput<false>(rows, dy, w.w2, scratch.dunits);
  MlpUnitsBackward(rows, p, w.units, at_.a, at_.linear, scratch.dunits, scratch.dlinear,
                   In(gradient, places_.unit_bias));
  LinearBackwardWeight(rows, at_.n2, scratch.dunits, h, p, gradient + places_.w1,
                       In(gradient, places_.b1));
  LinearBackwardInput<false>(rows, scratch.dunits, w.w1, scratch.dn);
  if (w.units.gated) {
    LinearBackwardWeight(rows, at_.n2, scratch.dlinear, h, p, gradient + places_.w1_linear,
                         In(gradient, places_.b1_linear));
    LinearBackwardInput<true>(rows, scratch.dlinear, w.w1_linear, scratch.dn);
  }
  NormBackward(rows, h, w.norm2, at_.x1, at_.norm2, scratch.dn, dx, gradient + places_.norm2.gain,
               In(gradient, places_.norm2.bias));
}

template <typename T>
void TransformerLayer<T>::BackwardAttention(const Chunk& chunk, Rows<T> dx, T* gradient,
                                            const LayerScratch<T>& scratch) {
  const int64_t rows = chunk.rows(), h = shape_->width;
  const LayerWeights<T>& w = weights_;
  Rows<T> dy = dx;
  if (dropout_ > 0) {
    dy = scratch.dy;
    ApplyMask(rows, h, dx, at_.attention_mask, dy);
  }
  LinearBackwardWeight(rows, at_.attended, dy, size_->attended_width(), h, gradient + places_.wo,
                       In(gradient, places_.bo));
  LinearBackwardInput<false>(rows, dy, w.wo, scratch.dattended);
  const AttentionShape attention = attention_shape(chunk.length);
  for (int64_t s = 0; s < chunk.sequences; ++s) {
    const int64_t row = s * chunk.length;
    AttentionBackward(attention, From(at_.q, row), From(at_.k, row), From(at_.v, row),
                      at_.attention_weights + s * attention.weights_size<T>(),
                      From(scratch.dattended, row), From(scratch.dq, row), From(scratch.dk, row),
                      From(scratch.dv, row), scratch.attention);
  }
  if (w.rotary != nullptr) {
    RotateBack(rows, chunk.length, size_->heads, size_->key_dim / 2, w.rotary, scratch.dq);
    RotateBack(rows, chunk.length, size_->kv_heads, size_->key_dim / 2, w.rotary, scratch.dk);
  }
  LinearBackwardWeight(rows, at_.n1, scratch.dq, h, size_->query_width(), gradient + places_.wq,
                       In(gradient, places_.bq));
  LinearBackwardWeight(rows, at_.n1, scratch.dk, h, size_->key_width(), gradient + places_.wk,
                       In(gradient, places_.bk));
  LinearBackwardWeight(rows, at_.n1, scratch.dv, h, size_->value_width(), gradient + places_.wv,
                       In(gradient, places_.bv));
  LinearBackwardInput<false>(rows, scratch.dq, w.wq, scratch.dn);
  LinearBackwardInput<true>(rows, scratch.dk, w.wk, scratch.dn);
  LinearBackwardInput<true>(rows, scratch.dv, w.wv, scratch.dn);
  NormBackward(rows, h, w.norm1, at_.x, at_.norm1, scratch.dn, dx, gradient + places_.norm1.gain,
               In(gradient, places_.norm1.bias));
}

template <typename T>
LayerScratch<T> TakeLayerScratch(const TransformerShape& shape, int64_t rows, int64_t length,
                                 bool train, bool dropout, Workspace<T>& workspace) {
  int64_t query = 0, key = 0, value = 0, attended = 0, units = 0, attention = 0;
  for (const TransformerLayerShape& layer : shape.layers) {
    query = std::max<int64_t>(query, layer.query_width());
    key = std::max<int64_t>(key, layer.key_width());
    value = std::max<int64_t>(value, layer.value_width());
    attended = std::max<int64_t>(attended, layer.attended_width());
    units = std::max<int64_t>(units, layer.mlp_width);
    const AttentionShape of_layer{
        .length = length, .key_dim = layer.key_dim, .value_dim = layer.value_dim};
    attention = std::max(attention, AttentionScratch<T>(of_layer));
  }
  LayerScratch<T> scratch;
  scratch.attention = workspace.Take(attention);
  if (!train) return scratch;
  scratch.dn = workspace.TakeRows(rows, shape.width);
  if (dropout) scratch.dy = workspace.TakeRows(rows, shape.width);
  scratch.dq = workspace.TakeRows(rows, query);
  scratch.dk = workspace.TakeRows(rows, key);
  scratch.dv = workspace.TakeRows(rows, value);
  scratch.dattended = workspace.TakeRows(rows, attended);
  scratch.dunits = workspace.TakeRows(rows, units);
  if (IsGated(shape.mlp)) scratch.dlinear = workspace.TakeRows(rows, units);
  scratch.moe = {scratch.dn,
                 scratch.dy,
                 {scratch.dunits, scratch.dlinear},
                 TakeMoeScratch(shape, rows, workspace)};
  return scratch;
}

template class TransformerLayer<float>;
template class TransformerLayer<double>;
template LayerScratch<float> TakeLayerScratch<float>(const TransformerShape&, int64_t, int64_t,
                                                     bool, bool, Workspace<float>&);
template LayerScratch<double> TakeLayerScratch<double>(const TransformerShape&, int64_t, int64_t,
                                                       bool, bool, Workspace<double>&);

}  // namespace saffron
