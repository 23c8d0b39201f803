#pragma once
// How far apart two lists of numbers are, and matrices for kernels.

#include <algorithm>
#include <cmath>
#include <vector>

#include "core/transformer/linear.h"

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
