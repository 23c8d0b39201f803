#pragma once
// A tensor row by row, with its gradient, whatever blocks it is stored in and whatever segments its
// arena is cut into: for optimisers that look at whole rows and columns.

#include <algorithm>
#include <cstdint>

#include "core/math/aligned_array.h"
#include "core/math/parameter_arena.h"

namespace saffron {

// Room for a row of parameters and one of gradients, made once for the widest tensor.
template <typename T>
struct RowScratch {
  AlignedArray<T> parameters, gradient;

  bool Allocate(int64_t cols_max) {
    parameters = AlignedArray<T>(cols_max);
    gradient = AlignedArray<T>(cols_max);
    return parameters.ok() && gradient.ok();
  }
};

template <typename T>
class TensorRows {
 public:
  TensorRows(ParameterArena<T>& arena, const ParameterTensor& tensor, RowScratch<T>& scratch)
      : parameters_(arena.parameters().data()),
        segments_(arena.segments()),
        tensor_(tensor),
        scratch_(scratch) {
    const auto at = SegmentOf(tensor.begin);
    frozen_ = at == segments_.end() || at->begin >= tensor.begin + tensor.stored();
    decay_ = !frozen_ && at->decay;
  }

  // No segment covers the tensor: it is not trained. (Freezing is by whole tensors.)
  bool frozen() const { return frozen_; }
  // Weight decay applies to the tensor.
  bool decay() const { return decay_; }

  // The gradient of row `row`, [cols]: in place where it lies in one piece, else gathered, with
  // zeros where there is none. Valid until the next call.
  const T* Gradient(int64_t row) {
    if (InOnePiece()) {
      const int64_t begin = tensor_.at(row, 0);
      const auto at = SegmentOf(begin);
      if (at->gradient != nullptr && begin + tensor_.cols <= at->begin + at->size) {
        return at->gradient + (begin - at->begin);
      }
    }
    T* to = scratch_.gradient.data();
    std::fill_n(to, tensor_.cols, T{0});
    ForEachPiece(row, [&](int64_t begin, int64_t col, int64_t n) {
      for (auto at = SegmentOf(begin); at != segments_.end() && at->begin < begin + n; ++at) {
        if (at->gradient == nullptr) continue;
        const int64_t from = std::max(begin, at->begin);
        const int64_t past = std::min(begin + n, at->begin + at->size);
        std::copy(at->gradient + (from - at->begin), at->gradient + (past - at->begin),
                  to + col + (from - begin));
      }
    });
    return to;
  }

  // The parameters of row `row`, [cols], to read and write; Put them back before the next row.
  T* Get(int64_t row) {
    if (InOnePiece()) return parameters_ + tensor_.at(row, 0);
    T* to = scratch_.parameters.data();
    ForEachPiece(row, [&](int64_t begin, int64_t col, int64_t n) {
      std::copy_n(parameters_ + begin, n, to + col);
    });
    return to;
  }
  void Put(int64_t row) {
    if (InOnePiece()) return;
    const T* from = scratch_.parameters.data();
    ForEachPiece(row, [&](int64_t begin, int64_t col, int64_t n) {
      std::copy_n(from + col, n, parameters_ + begin);
    });
  }

 private:
  using Segments = std::vector<ParameterSegment<T>>;

  bool InOnePiece() const { return tensor_.cols <= tensor_.block_cols(); }

  // The first segment that ends after `place`.
  typename Segments::const_iterator SegmentOf(int64_t place) const {
    return std::partition_point(
        segments_.begin(), segments_.end(),
        [&](const ParameterSegment<T>& segment) { return segment.begin + segment.size <= place; });
  }

  // f(place in the arena, first column, columns) for every stretch of the row.
  template <typename F>
  void ForEachPiece(int64_t row, F f) const {
    const int64_t block = tensor_.block_cols();
    for (int64_t col = 0; col < tensor_.cols; col += block) {
      f(tensor_.at(row, col), col, std::min(block, tensor_.cols - col));
    }
  }

  T* const parameters_;
  const Segments& segments_;
  const ParameterTensor& tensor_;
  RowScratch<T>& scratch_;
  bool frozen_ = false, decay_ = false;
};

// Sum of squares in double, in a fixed order.
template <typename T>
double SumOfSquares(const T* x, int64_t n) {
  constexpr int kSums = 8;
  double sum[kSums] = {};
  int64_t i = 0;
  for (; i + kSums <= n; i += kSums) {
    for (int k = 0; k < kSums; ++k) sum[k] += static_cast<double>(x[i + k]) * x[i + k];
  }
  for (int k = 0; i < n; ++i, ++k) sum[k] += static_cast<double>(x[i]) * x[i];
  double total = 0;
  for (const double s : sum) total += s;
  return total;
}

}  // namespace saffron
