#pragma once
// Products with weights: y = x w + b, over rows of tokens.
//
// A step multiplies the same weights with many blocks of rows, forward and backward, so both
// directions read copies packed once a step (packed_gemm.h). Row strides: a matrix with StrideOf(n)
// numbers a row never has rows a power of two apart.
//
// Products of float weights can be taken in bfloat16 (bf16_gemm.h): weights are rounded when they
// are packed, the other operands in each product, sums are float.

#include <cstdint>

#include "core/math/bf16_gemm.h"
#include "core/math/packed_gemm.h"

namespace saffron {

// n rounded up to whole cache lines, an odd number of them.
template <typename T>
constexpr int64_t StrideOf(int64_t n) {
  constexpr int64_t kLine = 64 / sizeof(T);
  return ((n + kLine - 1) / kLine | 1) * kLine;
}

// A matrix of rows in the workspace: data[i * stride + j]. Rows can be read up to their stride.
template <typename T>
struct Rows {
  T* data = nullptr;
  int64_t stride = 0;

  T* row(int64_t i) const { return data + i * stride; }
  // As the left side of a product, straight and transposed.
  GemmLeft<T> left() const { return {data, stride, 1}; }
  GemmLeft<T> left_from(int64_t i) const { return {row(i), stride, 1}; }
  GemmLeft<T> transposed() const { return {data, 1, stride}; }
};

// Where a product in bfloat16 puts its rounded operands.
struct Bf16Scratch {
  Bf16Pair* left = nullptr;   // Bf16LeftSize
  Bf16Pair* right = nullptr;  // Bf16RightSize
};
// Of all products of up to `rows` rows with weights of up to `widest` inputs or outputs.
int64_t Bf16LeftSize(int64_t rows, int64_t widest);
int64_t Bf16RightSize(int64_t rows, int64_t widest);

// w[in, out] and where its packed copies are; null where a direction is not needed.
template <typename T>
struct PackedWeight {
  int64_t in = 0, out = 0;
  T* forward = nullptr;   // PackedWeightSize(in, out)
  T* backward = nullptr;  // PackedWeightSize(out, in), of w'
  // Not null: products are taken in bfloat16, and the copies hold pairs. Only where T is float.
  const Bf16Scratch* bf16 = nullptr;

  PackedWeight Transposed() const { return {out, in, backward, forward, bf16}; }
};
// Numbers of a copy.
template <typename T>
int64_t PackedWeightSize(int64_t in, int64_t out, bool bf16);
// Copies from[in, out], or its transpose from[out, in], to w.forward and, with `backward`, to
// w.backward.
template <typename T>
void PackWeight(const T* from, bool backward, const PackedWeight<T>& w);
template <typename T>
void PackWeightTransposed(const T* from, bool backward, const PackedWeight<T>& w);

// y[rows, out] = x[rows, in] w (+ b);  b[out] may be null.
template <typename T>
void LinearForward(int64_t rows, Rows<T> x, const PackedWeight<T>& w, const T* b, Rows<T> y);
// y += x w (+ b)
template <typename T>
void LinearForwardAdd(int64_t rows, Rows<T> x, const PackedWeight<T>& w, const T* b, Rows<T> y);

// dx = dy w', or dx += dy w' when kAccumulate.
template <bool kAccumulate, typename T>
void LinearBackwardInput(int64_t rows, Rows<T> dy, const PackedWeight<T>& w, Rows<T> dx);
// dw[in, out] += x' dy;  db[out] += sum over rows of dy, where db is not null. Of w, its size and
// how its products are taken.
template <typename T>
void LinearBackwardWeight(int64_t rows, Rows<T> x, Rows<T> dy, const PackedWeight<T>& w, T* dw,
                          T* db);

// b[n] += sum over rows of y; y[i] += b for every row.
template <typename T>
void AddColumnSums(int64_t rows, int64_t n, Rows<T> y, T* b);
template <typename T>
void AddToRows(int64_t rows, int64_t n, const T* b, Rows<T> y);

}  // namespace saffron
