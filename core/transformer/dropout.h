#pragma once
// Dropout by masks that are a pure function of (seed, step, site, row, column), so that a retry on
// another worker, or a batch cut up otherwise, drops the same numbers. Srivastava et al., JMLR
// 2014.

#include <cstdint>

#include "core/transformer/linear.h"

namespace saffron {

// One place in a model at one step.
struct DropoutSite {
  double rate = 0;  // in [0, 1); 0: nothing is dropped
  uint64_t seed = 0;
  int64_t step = 0;
  uint32_t site = 0;  // of the model's places
};

// mask[rows, n] = 1 / (1 - rate) with probability 1 - rate, else 0. Row r is row first + r of the
// whole batch.
template <typename T>
void FillDropoutMask(const DropoutSite& site, int64_t first, int64_t rows, int64_t n, Rows<T> mask);

// y = x mask; y may be x.
template <typename T>
void ApplyMask(int64_t rows, int64_t n, Rows<T> x, Rows<T> mask, Rows<T> y);
// y += x mask
template <typename T>
void AddMasked(int64_t rows, int64_t n, Rows<T> x, Rows<T> mask, Rows<T> y);

}  // namespace saffron
