#include "core/layers/softmax_regression.h"

#include <algorithm>

#include "core/base/check.h"
#include "core/base/status_macros.h"
#include "core/layers/key_rows.h"
#include "core/layers/softmax_loss.h"
#include "core/math/gemm.h"

namespace saffron {
template <typename T>
absl::StatusOr<DenseSoftmaxRegression<T>> DenseSoftmaxRegression<T>::Create(
    int inputs, int outputs, const Options& options) {
  CHECK(inputs >= 1 && outputs >= 1 && options.batch_max >= 1);
  DenseSoftmaxRegression model;
  model.inputs_ = inputs;
  model.outputs_ = outputs;
  const int64_t weights = int64_t{inputs} * outputs, size = weights + outputs;
  ASSIGN_OR_RETURN(model.arena_,
                   ParameterArena<T>::Create({.parameters = size, .gradients = size}));
  T* gradient = model.arena_.gradients().data();
  model.arena_.segments() = {{.begin = 0, .size = weights, .gradient = gradient, .decay = true},
                             {.begin = weights, .size = outputs, .gradient = gradient + weights}};
  model.arena_.tensors() = {
      {.name = "w", .begin = 0, .rows = inputs, .cols = outputs, .role = TensorRole::kReadout},
      {.name = "bias", .begin = weights, .cols = outputs}};
  const int stride = PaddedDim(outputs);
  model.x_.setZero(options.batch_max, inputs);
  model.z_.setZero(options.batch_max, stride);
  model.w_.setZero(inputs, stride);
  model.dw_.setZero(inputs, stride);
  return model;
}

// z = x W + bias for the first rows of x_.
template <typename T>
void DenseSoftmaxRegression<T>::Logits(int64_t examples) {
  const int64_t stride = z_.cols();
  w_.leftCols(outputs_) = Eigen::Map<const Matrix<T>>(weights().data(), inputs_, outputs_);
  for (int64_t m = 0; m < examples; ++m) {
    std::copy(bias().begin(), bias().end(), z_.row(m).data());
  }
  Gemm<true, T>(examples, stride, inputs_, {x_.data(), inputs_, 1}, w_.data(), stride, z_.data(),
                stride);
}

template <typename T>
double DenseSoftmaxRegression<T>::LossAndGradient(const ConstMatrixRef<float>& x,
                                                  absl::Span<const int32_t> y,
                                                  absl::Span<const int64_t> examples) {
  const int64_t n = static_cast<int64_t>(examples.size());
  CHECK(n >= 1 && n <= x_.rows()) << "batch of " << n << ", at most " << x_.rows();
  for (int64_t m = 0; m < n; ++m) x_.row(m) = x.row(examples[m]).template cast<T>();
  Logits(n);
  T* gradient = arena_.gradients().data();
  T* dbias = gradient + int64_t{inputs_} * outputs_;
  std::fill_n(dbias, outputs_, T{0});
  double nats = 0;
  for (int64_t m = 0; m < n; ++m) {
    T* z = z_.row(m).data();
    nats += SoftmaxGradientInPlace<T>(z, outputs_, y[examples[m]], static_cast<T>(1.0 / n));
    for (int i = 0; i < outputs_; ++i) dbias[i] += z[i];
  }
  const int64_t stride = z_.cols();
  Gemm<false, T>(inputs_, stride, n, {x_.data(), 1, inputs_}, z_.data(), stride, dw_.data(),
                 stride);
  Eigen::Map<Matrix<T>>(gradient, inputs_, outputs_) = dw_.leftCols(outputs_);
  return nats / static_cast<double>(n);
}

template <typename T>
Evaluation DenseSoftmaxRegression<T>::Evaluate(const ConstMatrixRef<float>& x,
                                               absl::Span<const int32_t> y) {
  Evaluation result;
  for (int64_t begin = 0; begin < x.rows(); begin += x_.rows()) {
    const int64_t n = std::min<int64_t>(x_.rows(), x.rows() - begin);
    x_.topRows(n) = x.middleRows(begin, n).template cast<T>();
    Logits(n);
    for (int64_t m = 0; m < n; ++m) {
      AddTarget<T>(z_.row(m).data(), outputs_, y[static_cast<size_t>(begin + m)], result);
    }
  }
  return result;
}

template <typename T>
absl::Span<T> DenseSoftmaxRegression<T>::weights() {
  return arena_.parameters().first(static_cast<size_t>(inputs_) * outputs_);
}

template <typename T>
absl::Span<T> DenseSoftmaxRegression<T>::bias() {
  return arena_.parameters().last(static_cast<size_t>(outputs_));
}

template class DenseSoftmaxRegression<float>;
template class DenseSoftmaxRegression<double>;

}  // namespace saffron
