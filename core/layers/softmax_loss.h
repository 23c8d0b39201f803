#pragma once
// Loss and gradient of one target's logits.

#include <algorithm>
#include <cstdint>

#include "core/layers/evaluation.h"
#include "core/math/exp.h"

namespace saffron {

// Turns logits z[n] into scale * (p - y); returns -log p[target], in nats.
template <typename T>
double SoftmaxGradientInPlace(T* z, int64_t n, int32_t target, T scale) {
  const double logit = z[target];
  const double nats = SoftmaxInPlace(z, n) - logit;
  for (int64_t i = 0; i < n; ++i) z[i] *= scale;
  z[target] -= scale;
  return nats;
}

// Counts the target of logits z[n] in.
template <typename T>
void AddTarget(const T* z, int64_t n, int32_t target, Evaluation& result) {
  ++result.targets;
  result.nats += LogSumExp(z, n) - static_cast<double>(z[target]);
  result.correct += std::max_element(z, z + n) - z == target;
}

}  // namespace saffron
