#include "core/transformer/transformer_layer.h"

#include <algorithm>

#include "core/transformer/rotary.h"

namespace saffron {
namespace {

template <typename T>
void CopyRows(int64_t rows, int64_t n, Rows<T> from, Rows<T> to) {
  for (int64_t r = 0; r < rows; ++r) std::copy_n(from.row(r), n, to.row(r));
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
  const int64_t h = shape.width;
  LayerWeights<T>& w = weights_;
  w.norm1 = {shape.norm, size_->norm1_epsilon, At(params, places_.norm1.gain),
             At(params, places_.norm1.bias)};
  w.norm2 = {shape.norm, size_->norm2_epsilon, At(params, places_.norm2.gain),
             At(params, places_.norm2.bias)};
  w.wq = workspace.TakeWeight(h, size_->query_width(), train);
  w.wk = workspace.TakeWeight(h, size_->key_width(), train);
  w.wv = workspace.TakeWeight(h, size_->value_width(), train);
  w.wo = workspace.TakeWeight(size_->attended_width(), h, train);
  if (size_->moe.sparse()) {
    moe_.emplace(shape, layout, index, params, moe, dropout, seed, rows, train, workspace);
  } else {
    w.mlp = TakeMlpWeights(shape, places_.mlp, size_->mlp_width, params, train, workspace);
  }
  w.bq = At(params, places_.bq);
  w.bk = At(params, places_.bk);
  w.bv = At(params, places_.bv);
  w.bo = At(params, places_.bo);
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
    at_.mlp = TakeMlpActivations(shape, rows, size_->mlp_width, /*mask=*/false, workspace);
    at_.mlp.x = workspace.TakeRows(rows, h);
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
          .slopes = size_->alibi_slopes.empty() ? nullptr : size_->alibi_slopes.data(),
          .bf16 = weights_.wq.bf16};
}

template <typename T>
void TransformerLayer<T>::Pack(const T* params, bool backward) {
  PackWeight(params + places_.wq, backward, weights_.wq);
  PackWeight(params + places_.wk, backward, weights_.wk);
  PackWeight(params + places_.wv, backward, weights_.wv);
  PackWeight(params + places_.wo, backward, weights_.wo);
  if (moe_) return moe_->Pack(params, backward);
  PackMlp(params, places_.mlp, backward, weights_.mlp);
}

template <typename T>
DropoutSite TransformerLayer<T>::Site(const Chunk& chunk, uint32_t which) const {
  return {.rate = chunk.step > 0 ? dropout_ : 0,
          .seed = seed_,
          .step = chunk.step,
          .site = 1 + 2 * static_cast<uint32_t>(index_) + which};
}

template <typename T>
template <typename F>
void TransformerLayer<T>::AddSublayer(const Chunk& chunk, uint32_t which, Rows<T> x, Rows<T> mask,
                                      Rows<T> out, F f) {
  const int64_t rows = chunk.rows(), h = shape_->width;
  if (!chunk.train || dropout_ == 0) {
    CopyRows(rows, h, x, out);
    return f(/*add=*/true, out);
  }
  f(/*add=*/false, out);
  FillDropoutMask(Site(chunk, which), chunk.first_drawn, rows, h, mask);
  ApplyMask(rows, h, out, mask, out);
  for (int64_t r = 0; r < rows; ++r) AddToRows(1, h, x.row(r), out.From(r));
}

template <typename T>
void TransformerLayer<T>::ForwardAttention(const Chunk& chunk, T* scratch) {
  const int64_t rows = chunk.rows();
  const LayerWeights<T>& w = weights_;
  LinearForward(rows, at_.n1, w.wq, w.bq, at_.q);
  LinearForward(rows, at_.n1, w.wk, w.bk, at_.k);
  LinearForward(rows, at_.n1, w.wv, w.bv, at_.v);
  if (w.rotary != nullptr) {
    Rotate(rows, chunk.length, size_->heads, size_->key_dim / 2, w.rotary, at_.q);
    Rotate(rows, chunk.length, size_->kv_heads, size_->key_dim / 2, w.rotary, at_.k);
  }
  AttentionShape attention = attention_shape(chunk.length);
  for (int64_t s = 0; s < chunk.sequences; ++s) {
    const int64_t row = s * chunk.length;
    if (chunk.document != nullptr) attention.first = chunk.document + row;
    AttentionForward(attention, at_.q.From(row), at_.k.From(row), at_.v.From(row),
                     at_.attended.From(row),
                     at_.attention_weights + s * attention.weights_size<T>(), scratch);
  }
}

template <typename T>
void TransformerLayer<T>::Forward(const Chunk& chunk, Rows<T> out, T* attention_scratch,
                                  MoeLosses& losses) {
  const int64_t rows = chunk.rows(), h = shape_->width;
  const LayerWeights<T>& w = weights_;
  NormForward(rows, h, w.norm1, at_.x, at_.n1, at_.norm1);
  ForwardAttention(chunk, attention_scratch);
  AddSublayer(chunk, 0, at_.x, at_.attention_mask, at_.x1, [&](bool add, Rows<T> y) {
    if (add) return LinearForwardAdd(rows, at_.attended, w.wo, w.bo, y);
    LinearForward(rows, at_.attended, w.wo, w.bo, y);
  });
  if (moe_) return moe_->Forward(chunk, at_.x1, out, losses);
  NormForward(rows, h, w.norm2, at_.x1, at_.mlp.x, at_.norm2);
  AddSublayer(chunk, 1, at_.x1, at_.mlp_mask, out,
              [&](bool add, Rows<T> y) { MlpForward(rows, w.mlp, at_.mlp, add, y); });
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
  const int64_t rows = chunk.rows(), h = shape_->width;
  const LayerWeights<T>& w = weights_;
  Rows<T> dy = dx;
  if (dropout_ > 0) {
    dy = scratch.dy;
    ApplyMask(rows, h, dx, at_.mlp_mask, dy);
  }
  MlpBackward(rows, w.mlp, places_.mlp, at_.mlp, dy, scratch.mlp, scratch.dn, gradient);
  NormBackward(rows, h, w.norm2, at_.x1, at_.norm2, scratch.dn, dx, gradient + places_.norm2.gain,
               At(gradient, places_.norm2.bias));
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
  LinearBackwardWeight(rows, at_.attended, dy, w.wo, gradient + places_.wo,
                       At(gradient, places_.bo));
  LinearBackwardInput<false>(rows, dy, w.wo, scratch.dattended);
  const AttentionShape attention = attention_shape(chunk.length);
  for (int64_t s = 0; s < chunk.sequences; ++s) {
    const int64_t row = s * chunk.length;
    AttentionBackward(attention, at_.q.From(row), at_.k.From(row), at_.v.From(row),
                      at_.attention_weights + s * attention.weights_size<T>(),
                      scratch.dattended.From(row), scratch.dq.From(row), scratch.dk.From(row),
                      scratch.dv.From(row), scratch.attention);
  }
  if (w.rotary != nullptr) {
    RotateBack(rows, chunk.length, size_->heads, size_->key_dim / 2, w.rotary, scratch.dq);
    RotateBack(rows, chunk.length, size_->kv_heads, size_->key_dim / 2, w.rotary, scratch.dk);
  }
  LinearBackwardWeight(rows, at_.n1, scratch.dq, w.wq, gradient + places_.wq,
                       At(gradient, places_.bq));
  LinearBackwardWeight(rows, at_.n1, scratch.dk, w.wk, gradient + places_.wk,
                       At(gradient, places_.bk));
  LinearBackwardWeight(rows, at_.n1, scratch.dv, w.wv, gradient + places_.wv,
                       At(gradient, places_.bv));
  LinearBackwardInput<false>(rows, scratch.dq, w.wq, scratch.dn);
  LinearBackwardInput<true>(rows, scratch.dk, w.wk, scratch.dn);
  LinearBackwardInput<true>(rows, scratch.dv, w.wv, scratch.dn);
  NormBackward(rows, h, w.norm1, at_.x, at_.norm1, scratch.dn, dx, gradient + places_.norm1.gain,
               At(gradient, places_.norm1.bias));
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
    const AttentionShape of_layer{.length = length,
                                  .key_dim = layer.key_dim,
                                  .value_dim = layer.value_dim,
                                  .bf16 = workspace.bf16()};
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
  scratch.mlp.units = workspace.TakeRows(rows, units);
  if (IsGated(shape.mlp)) scratch.mlp.linear = workspace.TakeRows(rows, units);
  scratch.moe = {scratch.dn, scratch.dy, scratch.mlp, TakeMoeScratch(shape, rows, workspace)};
  return scratch;
}

template class TransformerLayer<float>;
template class TransformerLayer<double>;
template LayerScratch<float> TakeLayerScratch<float>(const TransformerShape&, int64_t, int64_t,
                                                     bool, bool, Workspace<float>&);
template LayerScratch<double> TakeLayerScratch<double>(const TransformerShape&, int64_t, int64_t,
                                                       bool, bool, Workspace<double>&);

}  // namespace saffron
