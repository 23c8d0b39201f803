#pragma once
// The feed-forward half of a sparse layer on the residual stream: the experts, and the extra dense
// MLP before or after them where the shape has one (ST-MoE, appendix C), each pre-norm with dropout
// and residual.
//   y = x + drop(f(Norm(x)))

#include <cstdint>

#include "core/transformer/moe_layer.h"
#include "core/transformer/normalization.h"

namespace saffron {

// Besides the experts' own: rows[rows, h] of every sublayer.
template <typename T>
struct MoeSublayerScratch {
  Rows<T> dn, dy;     // dy: with dropout alone
  MlpScratch<T> mlp;  // of the dense MLP
  MoeScratch<T> moe;
};

template <typename T>
class MoeSublayer {
 public:
  // As MoeLayer.
  MoeSublayer(const TransformerShape& shape, const TransformerLayout& layout, int index,
              const T* params, const MoeTraining& training, double dropout, uint64_t seed,
              int64_t rows, bool train, Workspace<T>& workspace);

  void Pack(const T* params, bool backward);
  // out = what follows from x. x must stay as it is until Backward.
  void Forward(const Chunk& chunk, Rows<T> x, Rows<T> out, MoeLosses& losses);
  // dx, the gradient of `out`, becomes that of x.
  void Backward(const Chunk& chunk, Rows<T> dx, T* gradient, const MoeSublayerScratch<T>& scratch);

  const MoeLayer<T>& moe() const { return moe_; }

 private:
  // One of the two: norm, its input and output, and what dropout left of its own output.
  struct Stage {
    uint32_t site = 0;
    int64_t gain = -1, bias = -1;
    NormWeights<T> norm;
    NormState<T> state;
    Rows<T> x, n, mask;
  };
  Stage TakeStage(const TransformerShape& shape, uint32_t site, double epsilon, int64_t gain,
                  int64_t bias, const T* params, int64_t rows, Workspace<T>& workspace);
  template <typename F>
  void StageForward(const Chunk& chunk, Rows<T> x, Rows<T> out, Stage& stage, F f);
  template <typename F>
  void StageBackward(const Chunk& chunk, Rows<T> dx, T* gradient,
                     const MoeSublayerScratch<T>& scratch, const Stage& stage, F f);
  void SparseForward(const Chunk& chunk, Rows<T> x, Rows<T> out, MoeLosses& losses);
  void DenseForward(const Chunk& chunk, Rows<T> x, Rows<T> out);
  void SparseBackward(const Chunk& chunk, Rows<T> dx, T* gradient,
                      const MoeSublayerScratch<T>& scratch);
  void DenseBackward(const Chunk& chunk, Rows<T> dx, T* gradient,
                     const MoeSublayerScratch<T>& scratch);

  DensePlace dense_place_;
  int64_t width_;
  double dropout_;
  uint64_t seed_;
  MlpPlaces dense_places_;
  MoeLayer<T> moe_;
  Stage sparse_, dense_;
  MlpWeights<T> dense_weights_;
  MlpActivations<T> dense_at_;
  Rows<T> between_;  // output of the first of two stages
};

}  // namespace saffron
