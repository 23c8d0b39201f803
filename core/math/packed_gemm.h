#pragma once
// Dense products with a packed right side: C[m,n] (+)= A[m,k] B[k,n].
//
// For matrices that are multiplied with many rows, over and over: weights of a step. As in gemm.h
// every element of C is one fused chain over k in ascending order, so its bits depend neither on
// the shape of the call nor on the machine; packing only moves B into the order in which the kernel
// reads it (panels of two registers, row after row), because rows that lie a power of two apart
// share the few places that a first-level cache has for them. The left side is read where it is,
// transposed or not: six rows are six streams, or one.

#include <algorithm>
#include <cstdint>

#include "core/math/gemm.h"
#include "core/math/simd.h"

namespace saffron {

template <typename T>
inline constexpr int kPanelColumns = 2 * Simd<T>::kLanes;

// Elements that PackRight writes for B[k,n]: columns are filled up with zeros to whole panels.
template <typename T>
constexpr int64_t PackedSize(int64_t k, int64_t n) {
  return (n + kPanelColumns<T> - 1) / kPanelColumns<T> * kPanelColumns<T> * k;
}

// packed = B with B(p, j) = b[p * ldb + j] (PackRight) or b[j * ldb + p] (PackRightTransposed).
template <typename T>
void PackRight(int64_t k, int64_t n, const T* b, int64_t ldb, T* packed);
template <typename T>
void PackRightTransposed(int64_t k, int64_t n, const T* b, int64_t ldb, T* packed);

// C = A B, or C += A B when kAccumulate, for a packed B. One of A's strides must be 1. C must not
// overlap A or B.
template <bool kAccumulate, typename T>
void GemmPacked(int64_t m, int64_t n, int64_t k, const GemmLeft<T>& a, const T* packed, T* c,
                int64_t ldc);
// The same where B was packed with `depth` >= k rows: its first k rows, or those from p on where
// `packed` is moved by p * kPanelColumns.
template <bool kAccumulate, typename T>
void GemmPacked(int64_t m, int64_t n, int64_t k, const GemmLeft<T>& a, const T* packed,
                int64_t depth, T* c, int64_t ldc);
// The same for a B that lies row-major at b with row stride ldb. Rows are read up to whole panels.
// Worth it where B is multiplied once, and ldb is no multiple of a large power of two.
template <bool kAccumulate, typename T>
void GemmUnpacked(int64_t m, int64_t n, int64_t k, const GemmLeft<T>& a, const T* b, int64_t ldb,
                  T* c, int64_t ldc);

}  // namespace saffron
