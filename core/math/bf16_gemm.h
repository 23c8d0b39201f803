#pragma once
// Dense products of bfloat16 operands with float32 sums: C[m,n] (+)= A[m,k] B[k,n].
//
// For CPUs with AVX512-BF16: its vdpbf16ps multiplies pairs of bfloat16 and adds both products to a
// float32, twice the arithmetic of a float32 product in the same time. Operands are float32
// matrices, rounded here to the nearest bfloat16 (ties to even, subnormal numbers to zero), in
// pairs of neighbours along k, the lower one first; an odd k is filled up with a zero. As in
// packed_gemm.h every element of C is one chain over k in ascending order: its bits do not depend
// on the shape of the call.
//
// The program is built for CPUs without the feature. Nothing below but CpuHasBf16 may be called
// where that is false.

#include <cstdint>

#include "core/math/gemm.h"

namespace saffron {

// Whether this CPU (and the system it runs) has AVX512-BF16. False under SAFFRON_CPU=x86-64-v3 in
// the environment, which hides all that is newer than what the program is built for.
bool CpuHasBf16();

using Bf16Pair = uint32_t;
constexpr int64_t Bf16Pairs(int64_t k) { return (k + 1) / 2; }

// A packed right side stands in panels of so many columns, filled up with zeros.
inline constexpr int64_t kBf16Panel = 32;
// Pairs that Bf16PackRight writes for B[k,n].
constexpr int64_t Bf16PackedSize(int64_t k, int64_t n) {
  return (n + kBf16Panel - 1) / kBf16Panel * kBf16Panel * Bf16Pairs(k);
}

// Left sides of x[rows, n] with row stride ldx. Along its rows, for A = x, k = n:
//   to[i * ldto + p] = x(i, 2p), x(i, 2p + 1)
void Bf16AlongRows(int64_t rows, int64_t n, const float* x, int64_t ldx, Bf16Pair* to,
                   int64_t ldto);
// and down its columns, for A = x', k = rows:
//   to[p * ldto + i] = x(2p, i), x(2p + 1, i)
void Bf16DownColumns(int64_t rows, int64_t n, const float* x, int64_t ldx, Bf16Pair* to,
                     int64_t ldto);

// packed = B with B(p, j) = b[p * ldb + j] (Bf16PackRight) or b[j * ldb + p] (...Transposed).
void Bf16PackRight(int64_t k, int64_t n, const float* b, int64_t ldb, Bf16Pair* packed);
void Bf16PackRightTransposed(int64_t k, int64_t n, const float* b, int64_t ldb, Bf16Pair* packed);

// C = A B, or C += A B when kAccumulate. Of A (pairs, strides in pairs) one stride must be 1.
template <bool kAccumulate>
void Bf16Gemm(int64_t m, int64_t n, int64_t k, const GemmLeft<Bf16Pair>& a, const Bf16Pair* packed,
              float* c, int64_t ldc);
// The same where B was packed with `depth` >= k rows: its first k rows (an odd k wants zeros in A),
// or those from an even p on where `packed` is moved by p / 2 * kBf16Panel.
template <bool kAccumulate>
void Bf16Gemm(int64_t m, int64_t n, int64_t k, const GemmLeft<Bf16Pair>& a, const Bf16Pair* packed,
              int64_t depth, float* c, int64_t ldc);

}  // namespace saffron
