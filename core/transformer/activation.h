#pragma once
// Hidden units of an MLP: activation, gate and unit bias in one pass over the rows.
//   g = act(a);   u = g, or g c when gated;   out = u, u scale (multiplicative) or u + shift
//     relu       max(a, 0)
//     gelu       a Phi(a), exact                        Hendrycks & Gimpel, 2016
//     gelu_tanh  a (1 + tanh(sqrt(2/pi) (a + 0.044715 a^3))) / 2
//     silu       a / (1 + e^-a)
//   GEGLU and SwiGLU: Shazeer, "GLU variants improve transformer", arXiv:2002.05202.
//
// In float, Phi is at most 1.5e-7 from exact (Phi's tail as e^(-a^2/2) times a polynomial in
// 1 / (1 + c |a|)), so gelu is at most 2e-7 max(1, |a|); the others follow from Exp (2 ulp). In
// double all go through the C library.

#include <cstdint>

#include "core/transformer/linear.h"
#include "core/transformer/transformer_shape.h"

namespace saffron {

enum class Activation : uint8_t { kRelu, kGelu, kGeluTanh, kSilu };

Activation ActivationOf(MlpKind kind);

// y[i] = act(x[i]) and slope[i] = act'(x[i]), i < n; null where not wanted.
template <typename T>
void Activate(Activation activation, int64_t n, const T* x, T* y, T* slope);

// What the pass is made of. bias[n] is null for MlpUnitBias::kNone.
template <typename T>
struct MlpUnits {
  Activation activation = Activation::kRelu;
  bool gated = false;
  MlpUnitBias bias_kind = MlpUnitBias::kNone;
  const T* bias = nullptr;
};

// out[rows, n] from a[rows, n] and, when gated, c[rows, n].
template <typename T>
void MlpUnitsForward(int64_t rows, int64_t n, const MlpUnits<T>& units, Rows<T> a, Rows<T> c,
                     Rows<T> out);
// From d = dL/d out: v = d scale (or d);  da = v c act'(a),  dc = v act(a),  dscale += sum d u,
// dshift += sum d. da replaces d; dc (gated) and dbias as there are.
template <typename T>
void MlpUnitsBackward(int64_t rows, int64_t n, const MlpUnits<T>& units, Rows<T> a, Rows<T> c,
                      Rows<T> d, Rows<T> dc, T* dbias);

}  // namespace saffron
