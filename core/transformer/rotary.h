#pragma once
// Rotary positions: the pair (2i, 2i+1) of every head at position t is turned by the angle
// t frequency_i. Su et al., "RoFormer", arXiv:2104.09864, interleaved layout.

#include <cstdint>

#include "absl/types/span.h"
#include "core/transformer/linear.h"

namespace saffron {

// table[2 (t pairs + i)] = cos, [.. + 1] = sin of t frequencies[i], t < positions; computed in
// double.
template <typename T>
void FillRotaryTable(absl::Span<const double> frequencies, int positions, T* table);

// Turns x[rows, heads * 2 pairs] in place; row r stands at position r % length.
template <typename T>
void Rotate(int64_t rows, int64_t length, int heads, int64_t pairs, const T* table, Rows<T> x);
// By the negative angles: the gradient's way back.
template <typename T>
void RotateBack(int64_t rows, int64_t length, int heads, int64_t pairs, const T* table, Rows<T> x);

}  // namespace saffron
