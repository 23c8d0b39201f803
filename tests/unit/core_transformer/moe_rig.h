#pragma once
// A sparse layer by itself: memory, weights, and one call each way.

#include <memory>
#include <vector>

#include "compare.h"
#include "core/base/random.h"
#include "core/math/aligned_array.h"
#include "core/transformer/moe_layer.h"

namespace saffron {

template <typename T>
class MoeRig {
 public:
  // `shape` has one layer, a sparse one.
  MoeRig(const TransformerShape& shape, const MoeTraining& training, int64_t rows)
      : shape_(shape),
        layout_(LayOut(shape_)),
        rows_(rows),
        x(rows, shape.width),
        y(rows, shape.width),
        dy(rows, shape.width),
        dx(rows, shape.width),
        params_(layout_.size),
        gradient_(layout_.size) {
    Workspace<T> counting(nullptr);
    Take(training, counting);
    memory_ = AlignedArray<T>(counting.used());
    Workspace<T> workspace(memory_.data());
    Take(training, workspace);
  }

  void FillParams(uint64_t seed, double scale) {
    const CounterRandom random(seed, RandomPurpose::kTest);
    for (size_t i = 0; i < params_.size(); ++i)
      params_[i] = static_cast<T>(scale * random.Normal(i));
  }
  // Of whole sequences; draws come from the layer unless `draw` is false.
  void Forward(const Chunk& chunk, bool draw = true) {
    losses = {};
    layer_->Pack(params_.data(), true);
    if (draw) layer_->Draw(chunk);
    layer_->Forward(chunk, x.view(), y.view(), losses);
  }
  void Backward(const Chunk& chunk) {
    std::fill(gradient_.begin(), gradient_.end(), T{0});
    layer_->Backward(chunk, dy.view(), dx.view(), gradient_.data(), scratch_);
  }
  Chunk ChunkOf(int64_t length, bool train) const {
    return {.sequences = rows_ / length, .length = length, .train = train, .batch = rows_};
  }

  MoeLayer<T>& layer() { return *layer_; }
  const MoePlaces& places() const { return layout_.layers[0].moe; }
  T* params() { return params_.data(); }
  const T* gradient() const { return gradient_.data(); }
  const TransformerLayout& layout() const { return layout_; }

 private:
  void Take(const MoeTraining& training, Workspace<T>& workspace) {
    layer_ = std::make_unique<MoeLayer<T>>(shape_, layout_, 0, params_.data(), training, 5, rows_,
                                           true, workspace);
    scratch_ = TakeMoeScratch(shape_, rows_, workspace);
  }

  const TransformerShape shape_;
  const TransformerLayout layout_;
  int64_t rows_;

 public:
  OwnedRows<T> x, y, dy, dx;
  MoeLosses losses;

 private:
  std::vector<T> params_, gradient_;
  AlignedArray<T> memory_;
  std::unique_ptr<MoeLayer<T>> layer_;
  MoeScratch<T> scratch_;
};

// Width 6, four experts of eight units; slots for a quarter more than every token once.
inline TransformerShape SparseShape(int64_t context) {
  TransformerShape shape;
  shape.vocab = 2;
  shape.width = 6;
  shape.context = static_cast<int>(context);
  shape.positions = PositionKind::kNone;
  shape.mlp = MlpKind::kGeglu;
  shape.mlp_unit_bias = MlpUnitBias::kMultiplicative;
  shape.biases = true;
  shape.layers = {{.mlp_width = 8, .moe = {.experts = 4}}};
  return shape;
}

}  // namespace saffron
