#pragma once
// A multi-layer perceptron over dense examples, from the transformer's pieces.
//   x_{l+1} = drop(units(x_l w1 + b1, x_l w1_linear + b1_linear)),   logits = x_L readout + bias
//
// Tensors: layers.I.w1 [in, width] and .b1; .w1_linear and .b1_linear where gated; readout [width,
// classes], readout_bias. Not thread-safe. Same inputs, same bits. No memory is allocated after
// Create.

#include <cstdint>
#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "core/layers/evaluation.h"
#include "core/math/aligned_array.h"
#include "core/math/matrix.h"
#include "core/math/parameter_arena.h"
#include "core/transformer/activation.h"
#include "core/transformer/dropout.h"
#include "core/transformer/workspace.h"

namespace saffron {

struct MlpShape {
  int inputs = 0, classes = 0;
  int layers = 1;  // hidden ones; 0: softmax regression
  int width = 0;   // of each
  MlpKind kind = MlpKind::kGelu;
};

// Where the tensors above lie, without gaps.
std::vector<ParameterTensor> MlpTensors(const MlpShape& shape);

template <typename T>
class MlpClassifier {
 public:
  struct Options {
    double dropout = 0, label_smoothing = 0;
    uint64_t seed = 0;         // of the draws of parameters and of dropout
    int64_t batch_max = 1024;  // most examples of one LossAndGradient
  };
  // Weights drawn with deviation sqrt(2 / inputs) (He et al., 2015), the readout's with
  // sqrt(1 / inputs); biases 0. RESOURCE_EXHAUSTED when there is no memory.
  static absl::StatusOr<std::unique_ptr<MlpClassifier>> Create(const MlpShape& shape,
                                                               const Options& options);

  // Mean smoothed loss (nats) of the rows `examples` of x[n, inputs] against labels y[n], and its
  // gradient, left in arena(). `step` chooses the dropout masks; 0: none.
  double LossAndGradient(const ConstMatrixRef<float>& x, absl::Span<const int32_t> y,
                         absl::Span<const int64_t> examples, int64_t step);
  // All rows of x, without dropout or smoothing.
  Evaluation Evaluate(const ConstMatrixRef<float>& x, absl::Span<const int32_t> y);

  ParameterArena<T>& arena() { return arena_; }

 private:
  struct Layer {
    int64_t in = 0;
    int64_t w1 = -1, b1 = -1, w1_linear = -1, b1_linear = -1;  // places in the arena
    PackedWeight<T> weight, linear_weight;
    Rows<T> a, linear, out, mask;
  };

  MlpClassifier(const MlpShape& shape, const Options& options);
  void LayOut();
  void Draw();
  void TakeWorkspace(Workspace<T>& workspace);
  void Pack();
  MlpUnits<T> units() const { return {ActivationOf(shape_.kind), IsGated(shape_.kind)}; }
  Rows<T> InputOf(size_t layer) { return layer == 0 ? x_ : layers_[layer - 1].out; }
  // x_ to z_; with masks for step >= 0.
  void Forward(int64_t rows, int64_t step);

  const MlpShape shape_;
  const Options options_;
  int64_t size_ = 0, readout_place_ = -1, readout_bias_ = -1;
  std::vector<ParameterTensor> tensors_;
  ParameterArena<T> arena_;
  AlignedArray<T> workspace_;
  std::vector<Layer> layers_;
  PackedWeight<T> readout_;
  Rows<T> x_, z_, dx_, dlinear_, dnext_;
  std::vector<int32_t> targets_;
};

}  // namespace saffron
