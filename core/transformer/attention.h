#pragma once
// Scaled dot-product attention of whole sequences, head by head.
//   S = Q K' / sqrt(key_dim) + bias,   A = softmax(S) over the tokens seen (0 elsewhere),   O = A V
//   dV = A' dO,   dA = dO V',   dS = A (dA - rowsum(dA A)),   dQ = dS K / sqrt(key_dim),
//   dK = dS' Q / sqrt(key_dim);  the query heads of one key/value head add up
// bias = -slope_e (t - j) with ALiBi. Vaswani et al., 2017; grouped heads: Ainslie et al., "GQA",
// arXiv:2305.13245.

#include <cstdint>

#include "core/transformer/packed_right.h"

namespace saffron {

struct AttentionShape {
  int64_t length = 0;  // of a sequence
  int heads = 1, kv_heads = 1;
  int64_t key_dim = 1, value_dim = 1;
  bool causal = true;
  const double* slopes = nullptr;     // [heads], ALiBi alone
  const int32_t* first = nullptr;     // [length]: the first token that each token sees; null: 0
  const Bf16Scratch* bf16 = nullptr;  // not null: products in bfloat16; only where T is float

  // Row stride of a head's A, and numbers of the A of one sequence.
  template <typename T>
  int64_t weights_stride() const {
    return StrideOf<T>(length);
  }
  template <typename T>
  int64_t weights_size() const {
    return heads * length * weights_stride<T>();
  }
};

// Numbers that the passes below need to work in.
template <typename T>
int64_t AttentionScratch(const AttentionShape& shape);

// Of one sequence: q[length, heads key_dim], k[length, kv_heads key_dim], v[length, kv_heads
// value_dim] -> out[length, heads value_dim], and A of all heads in weights[weights_size()].
template <typename T>
void AttentionForward(const AttentionShape& shape, Rows<T> q, Rows<T> k, Rows<T> v, Rows<T> out,
                      T* weights, T* scratch);
// From A and dout to dq, dk, dv (all set).
template <typename T>
void AttentionBackward(const AttentionShape& shape, Rows<T> q, Rows<T> k, Rows<T> v,
                       const T* weights, Rows<T> dout, Rows<T> dq, Rows<T> dk, Rows<T> dv,
                       T* scratch);

}  // namespace saffron
