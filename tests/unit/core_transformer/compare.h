#pragma once
// How far apart two lists of numbers are, gradients from finite differences, and matrices for
// kernels.

#include <algorithm>
#include <cmath>
#include <vector>

#include "absl/types/span.h"
#include "core/transformer/linear.h"
#include "gtest/gtest.h"

namespace saffron {

// max |a - b| over max |b|.
template <typename A, typename B>
double RelativeError(const A& a, const B& b) {
  double error = 0, size = 1e-300;
  for (size_t i = 0; i < std::size(b); ++i) {
    error = std::max(error, std::abs(static_cast<double>(a[i]) - static_cast<double>(b[i])));
    size = std::max(size, std::abs(static_cast<double>(b[i])));
  }
  return error / size;
}

// The derivative at 0 of moved(by), by differences of fourth order.
template <typename Moved>
double Derivative(double step, Moved moved) {
  return (8 * (moved(step) - moved(-step)) - moved(2 * step) + moved(-2 * step)) / (12 * step);
}

// A gradient against differences of loss() by every `stride`th of its parameters p.
template <typename Loss>
void ExpectGradient(absl::Span<const double> gradient, absl::Span<double> p, size_t stride,
                    double step, Loss loss) {
  for (size_t i = 0; i < p.size(); i += stride) {
    const double at = p[i];
    const double numeric = Derivative(step, [&](double by) {
      p[i] = at + by;
      return loss();
    });
    p[i] = at;
    ASSERT_NEAR(gradient[i], numeric, 1e-6 * std::max(1e-2, std::abs(numeric)))
        << "parameter " << i;
  }
}

// Owns rows with a stride of the kernels' kind.
template <typename T>
class OwnedRows {
 public:
  OwnedRows(int64_t rows, int64_t n) : rows_(rows), n_(n), data_(rows * StrideOf<T>(n), T{0}) {}
  template <typename V>
  OwnedRows(int64_t rows, int64_t n, const V& values) : OwnedRows(rows, n) {
    for (int64_t i = 0; i < rows; ++i) {
      for (int64_t j = 0; j < n; ++j) {
        view().row(i)[j] = static_cast<T>(values[static_cast<size_t>(i * n + j)]);
      }
    }
  }
  Rows<T> view() { return {data_.data(), StrideOf<T>(n_)}; }
  std::vector<T> Values() {
    std::vector<T> values;
    for (int64_t i = 0; i < rows_; ++i) {
      values.insert(values.end(), view().row(i), view().row(i) + n_);
    }
    return values;
  }

 private:
  int64_t rows_, n_;
  std::vector<T> data_;
};

template <typename T>
constexpr double Tolerance() {
  return sizeof(T) == 8 ? 1e-10 : 1e-4;
}

}  // namespace saffron
