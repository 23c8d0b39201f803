#pragma once
// Products with weights: y = x w + b, over rows of tokens.
//
// A step multiplies the same weights with many blocks of rows, forward and backward, so both
// directions read copies packed once a step (packed_right.h).

#include <cstdint>

#include "core/transformer/packed_right.h"

namespace saffron {

// w[in, out] and where its packed copies are; null where a direction is not needed.
template <typename T>
struct PackedWeight {
  int64_t in = 0, out = 0;
  T* forward = nullptr;   // PackedRight: w
  T* backward = nullptr;  // PackedRight: w'
  // Not null: products are taken in bfloat16, and the copies hold pairs. Only where T is float.
  const Bf16Scratch* bf16 = nullptr;

  PackedWeight Transposed() const { return {out, in, backward, forward, bf16}; }
};
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
