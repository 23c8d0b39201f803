#pragma once
// Softmax regression, z = x W + bias, over dense examples (pixels) or over one-hot context tokens.

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "core/layers/evaluation.h"
#include "core/math/matrix.h"
#include "core/math/parameter_arena.h"

namespace saffron {

// Dense inputs: x[n, inputs]; W[inputs, outputs]; bias[outputs].
//   dW = x'(p - y)/n      dbias = sum (p - y)/n
// Not thread-safe. Same inputs, same bits.
template <typename T>
class DenseSoftmaxRegression {
 public:
  struct Options {
    int batch_max = 1024;  // most examples of one LossAndGradient
  };
  // All parameters zero (the loss is convex: no start needs to break a symmetry).
  // RESOURCE_EXHAUSTED when there is no memory.
  static absl::StatusOr<DenseSoftmaxRegression> Create(int inputs, int outputs,
                                                       const Options& options);

  // Mean loss (nats) of the rows `examples` of x[n, inputs] against labels y[n] in [0, outputs),
  // and its gradient, left in arena(). 1 <= examples.size() <= batch_max.
  double LossAndGradient(const ConstMatrixRef<float>& x, absl::Span<const int32_t> y,
                         absl::Span<const int64_t> examples);
  // All rows of x.
  Evaluation Evaluate(const ConstMatrixRef<float>& x, absl::Span<const int32_t> y);

  absl::Span<T> weights();  // W, row-major
  absl::Span<T> bias();
  ParameterArena<T>& arena() { return arena_; }
  int inputs() const { return inputs_; }
  int outputs() const { return outputs_; }

 private:
  DenseSoftmaxRegression() = default;
  void Logits(int64_t examples);

  int inputs_ = 0, outputs_ = 0;
  ParameterArena<T> arena_;  // W, then bias
  // Of a batch, with rows padded to whole registers: x, logits (then their gradient), W, dW.
  Matrix<T> x_, z_, w_, dw_;
};

// One-hot inputs: lags k = 1..K of target t each choose a row of their own table,
//   z = sum_k W_k[s_{t-k}] + bias,       W[K, vocab, vocab], bias[vocab].
//   dW_k[s_{t-k}] += (p - y)/n           dbias = sum (p - y)/n
// The gradient of W has at most K batch rows that are not zero, and only those are stored. The
// arena's segments say of every row whether it has a gradient now, had one before (its state moves
// it on), or never had one: the optimiser's arithmetic is exactly the dense one's.
// Memory: K vocab^2 numbers, and at most K batch_max vocab for the gradient, touched only where
// rows are used.
template <typename T>
class OneHotSoftmaxRegression {
 public:
  struct Options {
    int batch_max = 1024;
    int32_t padding = 0;  // id before the start of a stream
  };
  // All parameters zero. RESOURCE_EXHAUSTED when there is no memory.
  static absl::StatusOr<OneHotSoftmaxRegression> Create(int lags, int vocab,
                                                        const Options& options);

  // As SaffuNetwork's, with 1 <= positions.size() <= batch_max.
  double LossAndGradient(absl::Span<const int32_t> stream, absl::Span<const int64_t> positions);
  Evaluation Evaluate(absl::Span<const int32_t> stream, int64_t first);
  Evaluation Evaluate(absl::Span<const int32_t> stream, absl::Span<const int64_t> positions);

  // W_lag, [vocab, vocab] row-major, lag from 1.
  absl::Span<T> weights(int lag);
  absl::Span<T> bias();
  ParameterArena<T>& arena() { return arena_; }
  // To be called when the parameters of another run were put into the arena.
  void ArenaRestored();
  int lags() const { return lags_; }
  int vocab() const { return vocab_; }

 private:
  OneHotSoftmaxRegression() = default;
  int64_t RowOf(absl::Span<const int32_t> stream, int64_t position, int lag) const;
  void SortByLastToken(absl::Span<const int32_t> stream, absl::Span<const int64_t> positions);
  void Logits(absl::Span<const int32_t> stream, int64_t position);
  T* GradientOfRow(int64_t row);
  void ListSegments();

  int lags_ = 0, vocab_ = 0, batch_max_ = 0;
  int32_t padding_ = 0;
  ParameterArena<T> arena_;  // W, then bias; gradients: rows as they come, the bias's first
  std::vector<T> z_;         // [vocab] logits of one position, then their gradient
  std::vector<int64_t> sorted_;
  std::vector<int32_t> slot_of_row_;   // [K vocab] the row's gradient in this step, or -1
  std::vector<uint8_t> had_gradient_;  // [K vocab] in any step so far
  std::vector<int64_t> rows_;          // with a gradient in this step
};

}  // namespace saffron
