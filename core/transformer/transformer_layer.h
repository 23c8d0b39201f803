#pragma once
// One pre-norm layer over the tokens of whole sequences: attention and MLP, each added to the
// residual stream, forward and backward.
//   n1 = Norm1(x),  x1 = x + drop(Attention(n1 wq, n1 wk, n1 wv) wo + bo)
//   n2 = Norm2(x1), x2 = x1 + drop(units(n2 w1, n2 w1_linear) w2 + b2)
// or, in a sparse layer, what moe_sublayer.h says in the MLP's place.

#include <cstdint>
#include <optional>

#include "core/transformer/activation.h"
#include "core/transformer/attention.h"
#include "core/transformer/chunk.h"
#include "core/transformer/dropout.h"
#include "core/transformer/mlp.h"
#include "core/transformer/moe_sublayer.h"
#include "core/transformer/normalization.h"
#include "core/transformer/transformer_shape.h"
#include "core/transformer/workspace.h"

namespace saffron {

// A layer's weights where its passes find them: in the arena, and packed in the workspace.
template <typename T>
struct LayerWeights {
  NormWeights<T> norm1, norm2;
  PackedWeight<T> wq, wk, wv, wo;
  const T *bq = nullptr, *bk = nullptr, *bv = nullptr, *bo = nullptr;
  MlpWeights<T> mlp;          // of a dense layer
  const T* rotary = nullptr;  // FillRotaryTable; null without rotary positions
};

// What the forward pass leaves for the backward pass. Rows of a chunk of tokens.
template <typename T>
struct LayerActivations {
  Rows<T> x, n1, q, k, v, attended, x1;
  Rows<T> attention_mask, mlp_mask;  // dropout alone
  NormState<T> norm1, norm2;
  MlpActivations<T> mlp;  // of a dense layer; its x is Norm2(x1)
  T* attention_weights = nullptr;
};

// What the backward pass works in; one for all layers, as wide as the widest.
template <typename T>
struct LayerScratch {
  Rows<T> dn, dy, dq, dk, dv, dattended;
  MlpScratch<T> mlp;
  T* attention = nullptr;
  MoeSublayerScratch<T> moe;
};

template <typename T>
class TransformerLayer {
 public:
  // Takes memory for chunks of `rows` tokens. `index` is that of the layer; `params` the arena's,
  // null while the workspace only counts. `shape` must outlive the layer.
  TransformerLayer(const TransformerShape& shape, const TransformerLayout& layout, int index,
                   const T* params, double dropout, const MoeTraining& moe, uint64_t seed,
                   int64_t rows, bool train, Workspace<T>& workspace);

  // Copies the weights into the order that products read them in.
  void Pack(const T* params, bool backward);
  // The rows of x in activations().x become those of `out`.
  void Forward(const Chunk& chunk, Rows<T> out, T* attention_scratch, MoeLosses& losses);
  // dx, the gradient of the output, becomes that of the input; adds to `gradient` (the arena's).
  void Backward(const Chunk& chunk, Rows<T> dx, T* gradient, const LayerScratch<T>& scratch);

  LayerActivations<T>& activations() { return at_; }
  // Null when the layer is dense.
  const MoeLayer<T>* moe() const { return moe_ ? &moe_->moe() : nullptr; }
  // Of sequences of `length`.
  AttentionShape attention_shape(int64_t length) const;

 private:
  // out = x + f's, dropout between: f(add, y) sets y or adds to it.
  template <typename F>
  void AddSublayer(const Chunk& chunk, uint32_t which, Rows<T> x, Rows<T> mask, Rows<T> out, F f);
  void ForwardAttention(const Chunk& chunk, T* scratch);
  void BackwardMlp(const Chunk& chunk, Rows<T> dx, T* gradient, const LayerScratch<T>& scratch);
  void BackwardAttention(const Chunk& chunk, Rows<T> dx, T* gradient,
                         const LayerScratch<T>& scratch);
  DropoutSite Site(const Chunk& chunk, uint32_t which) const;

  const TransformerShape* shape_;
  const TransformerLayerShape* size_;
  TransformerLayout::Layer places_;
  int index_;
  double dropout_;
  uint64_t seed_;
  LayerWeights<T> weights_;
  LayerActivations<T> at_;
  std::optional<MoeSublayer<T>> moe_;
};

// Takes scratch for layers of these sizes.
template <typename T>
LayerScratch<T> TakeLayerScratch(const TransformerShape& shape, int64_t rows, int64_t length,
                                 bool train, bool dropout, Workspace<T>& workspace);

}  // namespace saffron
