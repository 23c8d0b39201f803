#pragma once
// Kernels over one block of columns of a softmax row: logits, exponentials, and the sums that make
// moments of evidence. Columns are a multiple of kMomentLanes; sums are taken in a fixed order.

#include <cstdint>
#include <limits>

#include "core/base/check.h"
#include "core/math/exp.h"
#include "core/math/simd.h"

namespace saffron {

inline constexpr int kMomentLanes = 2 * Simd<float>::kLanes;
// The most rows that AddRows adds up in one go: with the sum and its maximum they fill the
// registers.
inline constexpr int kRowsAtOnce = 12;

namespace moment_internal {

using S = Simd<float>;

template <int kRows>
float AddRowsOnce(const float* base, const float* const* rows, const float* weights,
                  int64_t columns, float* z) {
  S::Reg weight[kRows];
  const float* row[kRows];
  for (int r = 0; r < kRows; ++r) {
    weight[r] = S::Broadcast(weights[r]);
    row[r] = rows[r];
  }
  S::Reg top = S::Broadcast(-std::numeric_limits<float>::infinity());
  for (int64_t i = 0; i < columns; i += S::kLanes) {
    S::Reg sum = S::Load(base + i);
    for (int r = 0; r < kRows; ++r) sum = S::MulAdd(weight[r], S::Load(row[r] + i), sum);
    S::Store(z + i, sum);
    top = S::Max(top, sum);
  }
  return S::MaxLane(top);
}

// The instance of AddRowsOnce for `n` rows, 1 <= n <= kRows.
template <int kRows>
inline float AddUpTo(int n, const float* base, const float* const* rows, const float* weights,
                     int64_t columns, float* z) {
  if constexpr (kRows == 1) {
    return AddRowsOnce<1>(base, rows, weights, columns, z);
  } else {
    return n == kRows ? AddRowsOnce<kRows>(base, rows, weights, columns, z)
                      : AddUpTo<kRows - 1>(n, base, rows, weights, columns, z);
  }
}

}  // namespace moment_internal

// z = base + sum_r weight_r row_r, n >= 1 rows; returns the largest z. z may be base.
inline float AddRows(const float* base, const float* const* rows, const float* weights, int n,
                     int64_t columns, float* z) {
  float top = 0;
  for (int r = 0; r < n; r += kRowsAtOnce, base = z) {
    top = moment_internal::AddUpTo<kRowsAtOnce>(n - r < kRowsAtOnce ? n - r : kRowsAtOnce, base,
                                                rows + r, weights + r, columns, z);
  }
  return top;
}

// z = exp(z - top) for z <= top; returns the sum.
inline float ExpBelow(float top, int64_t columns, float* z) {
  using S = Simd<float>;
  S::Reg sum = S::Zero();
  for (int64_t i = 0; i < columns; i += S::kLanes) {
    const S::Reg e = ExpOfNonPositive(S::Sub(S::Load(z + i), S::Broadcast(top)));
    S::Store(z + i, e);
    sum = S::Add(sum, e);
  }
  return S::Sum(sum);
}

// w = e * r, element by element; returns the sum.
inline float Weigh(const float* e, const float* r, int64_t columns, float* w) {
  using S = Simd<float>;
  S::Reg sum = S::Zero();
  for (int64_t i = 0; i < columns; i += S::kLanes) {
    const S::Reg product = S::Mul(S::Load(e + i), S::Load(r + i));
    S::Store(w + i, product);
    sum = S::Add(sum, product);
  }
  return S::Sum(sum);
}

// sums[l] += <w, r_l> for kWidth neighbouring l.
template <int kWidth>
void AddProducts(const float* w, const float* const* r, int64_t columns, double* sums) {
  using S = Simd<float>;
  S::Reg acc[kWidth][2];
  for (auto& a : acc) a[0] = a[1] = S::Zero();
  for (int64_t i = 0; i < columns; i += 2 * S::kLanes) {
    const S::Reg w0 = S::Load(w + i), w1 = S::Load(w + i + S::kLanes);
    for (int l = 0; l < kWidth; ++l) {
      acc[l][0] = S::MulAdd(w0, S::Load(r[l] + i), acc[l][0]);
      acc[l][1] = S::MulAdd(w1, S::Load(r[l] + i + S::kLanes), acc[l][1]);
    }
  }
  for (int l = 0; l < kWidth; ++l) sums[l] += S::Sum(S::Add(acc[l][0], acc[l][1]));
}

}  // namespace saffron
