#include "core/transformer/moe_sublayer.h"

#include "core/transformer/dropout.h"

namespace saffron {
namespace {

// Sites of the two stages' dropout, apart from the dense layers' and the experts'.
constexpr uint32_t kSite = 0x20000000;

}  // namespace

template <typename T>
typename MoeSublayer<T>::Stage MoeSublayer<T>::TakeStage(const TransformerShape& shape,
                                                         uint32_t site, double epsilon,
                                                         int64_t gain, int64_t bias,
                                                         const T* params, int64_t rows,
                                                         Workspace<T>& workspace) {
  Stage stage;
  stage.site = site;
  stage.gain = gain;
  stage.bias = bias;
  stage.norm = {shape.norm, epsilon, At(params, gain), At(params, bias)};
  stage.state = {workspace.Take(rows), workspace.Take(rows)};
  stage.n = workspace.TakeRows(rows, width_);
  if (dropout_ > 0) stage.mask = workspace.TakeRows(rows, width_);
  return stage;
}

template <typename T>
MoeSublayer<T>::MoeSublayer(const TransformerShape& shape, const TransformerLayout& layout,
                            int index, const T* params, const MoeTraining& training, double dropout,
                            uint64_t seed, int64_t rows, bool train, Workspace<T>& workspace)
    : dense_place_(shape.layers[index].moe.dense),
      width_(shape.width),
      dropout_(dropout),
      seed_(seed),
      dense_places_(layout.layers[index].moe.dense),
      moe_(shape, layout, index, params, training, seed, rows, train, workspace) {
  const TransformerLayerShape& layer = shape.layers[index];
  const TransformerLayout::Layer& places = layout.layers[index];
  const uint32_t site = kSite + 2 * static_cast<uint32_t>(index);
  sparse_ = TakeStage(shape, site, layer.norm2_epsilon, places.norm2.gain, places.norm2.bias,
                      params, rows, workspace);
  if (dense_place_ == DensePlace::kNone) return;
  dense_ = TakeStage(shape, site + 1, layer.norm2_epsilon, places.moe.dense_gain,
                     places.moe.dense_bias, params, rows, workspace);
  dense_weights_ = TakeMlpWeights(shape, dense_places_, layer.mlp_width, params, train, workspace);
  dense_at_ = TakeMlpActivations(shape, rows, layer.mlp_width, false, workspace);
  dense_at_.x = dense_.n;
  between_ = workspace.TakeRows(rows, width_);
}

template <typename T>
void MoeSublayer<T>::Pack(const T* params, bool backward) {
  moe_.Pack(params, backward);
  if (dense_place_ != DensePlace::kNone) PackMlp(params, dense_places_, backward, dense_weights_);
}

template <typename T>
template <typename F>
void MoeSublayer<T>::StageForward(const Chunk& chunk, Rows<T> x, Rows<T> out, Stage& stage, F f) {
  const int64_t rows = chunk.rows();
  stage.x = x;
  NormForward(rows, width_, stage.norm, x, stage.n, stage.state);
  f(stage.n, out);
  if (chunk.train && dropout_ > 0) {
    const DropoutSite site{.rate = dropout_, .seed = seed_, .step = chunk.step, .site = stage.site};
    FillDropoutMask(site, chunk.first_drawn, rows, width_, stage.mask);
    ApplyMask(rows, width_, out, stage.mask, out);
  }
  for (int64_t r = 0; r < rows; ++r) {
    AddToRows(1, width_, static_cast<const T*>(x.row(r)), Rows<T>{out.row(r), out.stride});
  }
}

template <typename T>
template <typename F>
void MoeSublayer<T>::StageBackward(const Chunk& chunk, Rows<T> dx, T* gradient,
                                   const MoeSublayerScratch<T>& scratch, const Stage& stage, F f) {
  const int64_t rows = chunk.rows();
  Rows<T> dy = dx;
  if (dropout_ > 0) {
    dy = scratch.dy;
    ApplyMask(rows, width_, dx, stage.mask, dy);
  }
  f(dy, scratch.dn);
  NormBackward(rows, width_, stage.norm, stage.x, stage.state, scratch.dn, dx,
               gradient + stage.gain, At(gradient, stage.bias));
}

template <typename T>
void MoeSublayer<T>::SparseForward(const Chunk& chunk, Rows<T> x, Rows<T> out, MoeLosses& losses) {
  moe_.Draw(chunk);
  StageForward(chunk, x, out, sparse_,
               [&](Rows<T> n, Rows<T> y) { moe_.Forward(chunk, n, y, losses); });
}

template <typename T>
void MoeSublayer<T>::DenseForward(const Chunk& chunk, Rows<T> x, Rows<T> out) {
  StageForward(chunk, x, out, dense_, [&](Rows<T>, Rows<T> y) {
    MlpForward(chunk.rows(), dense_weights_, dense_at_, /*add=*/false, y);
  });
}

template <typename T>
void MoeSublayer<T>::SparseBackward(const Chunk& chunk, Rows<T> dx, T* gradient,
                                    const MoeSublayerScratch<T>& scratch) {
  StageBackward(chunk, dx, gradient, scratch, sparse_, [&](Rows<T> dy, Rows<T> dn) {
    moe_.Backward(chunk, dy, dn, gradient, scratch.moe);
  });
}

template <typename T>
void MoeSublayer<T>::DenseBackward(const Chunk& chunk, Rows<T> dx, T* gradient,
                                   const MoeSublayerScratch<T>& scratch) {
  StageBackward(chunk, dx, gradient, scratch, dense_, [&](Rows<T> dy, Rows<T> dn) {
    MlpBackward(chunk.rows(), dense_weights_, dense_places_, dense_at_, dy, scratch.mlp, dn,
                gradient);
  });
}

template <typename T>
void MoeSublayer<T>::Forward(const Chunk& chunk, Rows<T> x, Rows<T> out, MoeLosses& losses) {
  switch (dense_place_) {
    case DensePlace::kNone:
      return SparseForward(chunk, x, out, losses);
    case DensePlace::kBefore:
      DenseForward(chunk, x, between_);
      return SparseForward(chunk, between_, out, losses);
    case DensePlace::kAfter:
      SparseForward(chunk, x, between_, losses);
      return DenseForward(chunk, between_, out);
  }
}

template <typename T>
void MoeSublayer<T>::Backward(const Chunk& chunk, Rows<T> dx, T* gradient,
                              const MoeSublayerScratch<T>& scratch) {
  if (dense_place_ == DensePlace::kAfter) DenseBackward(chunk, dx, gradient, scratch);
  SparseBackward(chunk, dx, gradient, scratch);
  if (dense_place_ == DensePlace::kBefore) DenseBackward(chunk, dx, gradient, scratch);
}

template class MoeSublayer<float>;
template class MoeSublayer<double>;

}  // namespace saffron
