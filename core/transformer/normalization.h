#pragma once
// Row normalisation with a stored epsilon.
//   RMSNorm    r = (mean x^2 + eps)^(-1/2),        y = x r g
//              Zhang & Sennrich, "Root mean square layer normalization", 2019
//   LayerNorm  r = (var x + eps)^(-1/2) (biased),  y = (x - mean x) r g + b
//              Ba, Kiros & Hinton, "Layer normalization", 2016

#include <cstdint>

#include "core/transformer/linear.h"
#include "core/transformer/transformer_shape.h"

namespace saffron {

// gain[n]; bias[n], LayerNorm alone.
template <typename T>
struct NormWeights {
  NormKind kind = NormKind::kRms;
  double epsilon = 1e-5;
  const T* gain = nullptr;
  const T* bias = nullptr;
};

// What backward needs of a row beside x: scale[rows] = r, mean[rows] (LayerNorm).
template <typename T>
struct NormState {
  T* scale = nullptr;
  T* mean = nullptr;
};

// y may be x itself.
template <typename T>
void NormForward(int64_t rows, int64_t n, const NormWeights<T>& w, Rows<T> x, Rows<T> y,
                 NormState<T> state);
// With u = dy g and xhat = (x - mean) r:
//   dx += r (u - [mean u] - xhat mean(u xhat))     ([..]: LayerNorm)
//   dgain += sum dy xhat,  dbias += sum dy
template <typename T>
void NormBackward(int64_t rows, int64_t n, const NormWeights<T>& w, Rows<T> x,
                  const NormState<T>& state, Rows<T> dy, Rows<T> dx, T* dgain, T* dbias);

}  // namespace saffron
