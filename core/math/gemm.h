#pragma once
// Small dense products over strips of registers: C[m,n] (+)= A[m,k] B[k,n].
//
// Beside Eigen because (1) every element of C is one fused chain over k in ascending order, so its
// bits depend neither on the shape of the call nor on the machine's cache sizes (Eigen cuts k by
// them), and (2) strips of a few hundred rows by 64 columns are too small to pay for Eigen's
// packing.

#include <algorithm>
#include <cstdint>

#include "core/math/simd.h"

namespace saffron {

// A(i, p) = data[i * row_stride + p * inner_stride]: the same product serves X, X' and any slice.
template <typename T>
struct GemmLeft {
  const T* data;
  int64_t row_stride, inner_stride;
};

namespace gemm_internal {

// R rows by two registers of C: 2R + 3 registers live, R <= 6.
template <int R, bool kAccumulate, typename T>
inline void Tile(int64_t inner, const T* a, int64_t row_stride, int64_t inner_stride, const T* b,
                 int64_t ldb, T* c, int64_t ldc) {
  using S = Simd<T>;
  typename S::Reg left[R], right[R];
  for (int i = 0; i < R; ++i) {
    left[i] = kAccumulate ? S::Load(c + i * ldc) : S::Zero();
    right[i] = kAccumulate ? S::Load(c + i * ldc + S::kLanes) : S::Zero();
  }
  for (int64_t p = 0; p < inner; ++p) {
    const auto b0 = S::Load(b + p * ldb), b1 = S::Load(b + p * ldb + S::kLanes);
    for (int i = 0; i < R; ++i) {
      const auto x = S::Broadcast(a[i * row_stride + p * inner_stride]);
      left[i] = S::MulAdd(x, b0, left[i]);
      right[i] = S::MulAdd(x, b1, right[i]);
    }
  }
  for (int i = 0; i < R; ++i) {
    S::Store(c + i * ldc, left[i]);
    S::Store(c + i * ldc + S::kLanes, right[i]);
  }
}

template <int R, bool kAccumulate, typename T>
inline void LastRows(int64_t rows, int64_t inner, const T* a, int64_t row_stride,
                     int64_t inner_stride, const T* b, int64_t ldb, T* c, int64_t ldc) {
  if constexpr (R > 0) {
    if (rows == R) {
      Tile<R, kAccumulate>(inner, a, row_stride, inner_stride, b, ldb, c, ldc);
    } else {
      LastRows<R - 1, kAccumulate>(rows, inner, a, row_stride, inner_stride, b, ldb, c, ldc);
    }
  }
}

}  // namespace gemm_internal

// C = A B, or C += A B when kAccumulate. n must be a multiple of two registers (16 floats or 8
// doubles); b[k,n] and c[m,n] have their own row strides ldb, ldc. C must not overlap A or B.
template <bool kAccumulate, typename T>
void Gemm(int64_t m, int64_t n, int64_t k, const GemmLeft<T>& a, const T* b, int64_t ldb, T* c,
          int64_t ldc) {
  constexpr int kRows = 6, kColumns = 2 * Simd<T>::kLanes;
  // Of B this many rows at a time, so that they stay in the first-level cache for all rows of A.
  constexpr int64_t kInner = 64;
  if (k > kInner) {
    Gemm<kAccumulate>(m, n, kInner, a, b, ldb, c, ldc);
    for (int64_t p = kInner; p < k; p += kInner) {
      const GemmLeft<T> rest = {a.data + p * a.inner_stride, a.row_stride, a.inner_stride};
      Gemm<true>(m, n, std::min(kInner, k - p), rest, b + p * ldb, ldb, c, ldc);
    }
    return;
  }
  for (int64_t j = 0; j < n; j += kColumns) {
    int64_t i = 0;
    for (; i + kRows <= m; i += kRows) {
      gemm_internal::Tile<kRows, kAccumulate>(k, a.data + i * a.row_stride, a.row_stride,
                                              a.inner_stride, b + j, ldb, c + i * ldc + j, ldc);
    }
    gemm_internal::LastRows<kRows - 1, kAccumulate>(m - i, k, a.data + i * a.row_stride,
                                                    a.row_stride, a.inner_stride, b + j, ldb,
                                                    c + i * ldc + j, ldc);
  }
}

}  // namespace saffron
