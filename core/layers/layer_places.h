#pragma once
// Where a layer's parameters stand in the arena, and in which order.
//
// U is cut into blocks of kBlock columns, each [D, kBlock] contiguous: a step works on one block at
// a time, which with its gradient then stays in the second-level cache, and rows a power of two
// apart would all fall on the same few cache sets. Columns past N, in the last block, stay zero.

#include <cstdint>

#include "core/layers/key_rows.h"
#include "core/math/simd.h"
#include "core/model/saffu_params.h"

namespace saffron {

// Columns of a block: eight registers, which is what a kernel holds of one position's logits.
template <typename T>
inline constexpr int kBlock = 8 * Simd<T>::kLanes;

template <typename T>
struct LayerPlaces {
  const SaffuLayerShape* shape = nullptr;
  int64_t u = 0, w = 0, beta = 0, bias = 0;  // first element of each in the arena
  bool has_bias = false;

  int blocks() const { return (shape->outputs + kBlock<T> - 1) / kBlock<T>; }
  int64_t u_size() const { return int64_t{blocks()} * shape->InputDim() * kBlock<T>; }
  int64_t bias_size() const { return has_bias ? int64_t{blocks()} * kBlock<T> : 0; }
  // W_k is [dim(q), PaddedDim(dim(X_k))].
  int64_t w_size_of(int k) const {
    return int64_t{shape->keys[0].dim} * PaddedDim(shape->keys[k].dim);
  }
  int64_t w_offset(int k) const {
    int64_t offset = w;
    for (int i = 0; i < k; ++i) offset += w_size_of(i);
    return offset;
  }
  int64_t w_size() const { return shape->attention ? w_offset(shape->num_keys()) - w : 0; }

  // Element (row, column) of U and element i of the bias.
  int64_t u_at(int row, int column) const {
    const int64_t block = column / kBlock<T>;
    return u + (block * shape->InputDim() + row) * kBlock<T> + column % kBlock<T>;
  }
  const T* u_block(const T* arena, int block) const {
    return arena + u + int64_t{block} * shape->InputDim() * kBlock<T>;
  }
  T* u_block(T* arena, int block) const {
    return arena + u + int64_t{block} * shape->InputDim() * kBlock<T>;
  }
};

}  // namespace saffron
