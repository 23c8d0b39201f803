#pragma once
// An elementwise update of parameters and moments, a register at a time: what optimisers are made
// of.

#include <algorithm>
#include <cstdint>

#include "core/math/simd.h"

namespace saffron {

// For every stretch of kLanes elements calls update(p, g, m, v) with pointers to kLanes of each.
// The last, shorter stretch goes through buffers, so an element's bits never depend on where it
// stands. g may be null (zeros); v may be null for an optimiser with one moment (`update` ignores
// it).
template <typename T, typename LaneUpdate>
void ForEachLanes(T* p, const T* g, T* m, T* v, int64_t n, LaneUpdate update) {
  constexpr int kLanes = Simd<T>::kLanes;
  const T zeros[kLanes] = {};
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) {
    update(p + i, g == nullptr ? zeros : g + i, m + i, v == nullptr ? nullptr : v + i);
  }
  if (i == n) return;
  T tail_p[kLanes] = {}, tail_g[kLanes] = {}, tail_m[kLanes] = {}, tail_v[kLanes] = {};
  std::copy(p + i, p + n, tail_p);
  if (g != nullptr) std::copy(g + i, g + n, tail_g);
  std::copy(m + i, m + n, tail_m);
  if (v != nullptr) std::copy(v + i, v + n, tail_v);
  update(tail_p, tail_g, tail_m, tail_v);
  std::copy(tail_p, tail_p + (n - i), p + i);
  std::copy(tail_m, tail_m + (n - i), m + i);
  if (v != nullptr) std::copy(tail_v, tail_v + (n - i), v + i);
}

}  // namespace saffron
