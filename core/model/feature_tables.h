#pragma once
// What a token looks like to a SAFFU layer: plain tables from which both the explicit solve
// (core/solve builds them) and backpropagation (core/layers reads them) make key vectors.
//
// Features of the keys of target position t, with s the stream of ids:
//   x, lag k    cipher row of s[t-k]
//   c, lag k    context row of s[t-k]
//   r           mean of the cipher rows of s[t-1], ..., s[t-radius]
//   o, lag k    output of the layer below at position t-k+1, that is, made from tokens <= t-k
// A position before the start of a stream holds `padding` (<eod>): every position has all its keys.
// With kL1 and kNoisy every key vector has L1 norm 1; with kBinary cipher rows hold 0 and 1.

#include <cstdint>
#include <vector>

#include "core/math/matrix.h"

namespace saffron {

enum class FeatureKind : uint8_t { kL1, kBinary, kNoisy };

// Rows of a [types, dim] matrix with few non-zeros: row w has the entries begin[w] .. begin[w+1]-1,
// by ascending index.
struct SparseRows {
  int dim = 0;
  std::vector<int32_t> begin;  // [types + 1]
  std::vector<int32_t> index;  // [non-zeros], in [0, dim)
  std::vector<float> value;    // [non-zeros], positive

  int rows() const { return static_cast<int>(begin.size()) - 1; }
};

struct FeatureTables {
  FeatureKind kind = FeatureKind::kL1;
  int bits = 0;           // b: width of a row
  int radius = 0;         // of the r stream; 0 without one
  int32_t padding = 0;    // id that stands before the start of a stream
  SparseRows cipher;      // [V, b]; <= 3 or so non-zeros a row, all b of them when noisy
  Matrix<float> context;  // [V, b], rows of L1 norm 1; empty without a c stream

  bool constant_norm() const { return kind != FeatureKind::kBinary; }
};

}  // namespace saffron
