#include "core/transformer/activation.h"

#include <cmath>
#include <numbers>
#include <type_traits>

#include "core/base/check.h"
#include "core/math/lanes.h"

namespace saffron {
namespace {

// Calls a scalar function for every lane: double only, where the C library is the reference.
template <typename S, typename F>
typename S::Reg EachLane(typename S::Reg x, F f) {
  alignas(32) double lanes[S::kLanes];
  S::Store(lanes, x);
  for (double& lane : lanes) lane = f(lane);
  return S::Load(lanes);
}

// tail = Phi(-|a|) and bell = e^(-a^2/2).
template <typename T, typename S>
struct Normal {
  typename S::Reg tail, bell;
  explicit Normal(typename S::Reg a) {
    const auto minus_half = S::Broadcast(T(-0.5));
    bell = ExpOfNonPositive(S::Mul(S::Mul(a, a), minus_half));
    const auto size = S::Abs(a);
    if constexpr (std::is_same_v<T, double>) {
      tail = EachLane<S>(size, [](double x) { return 0.5 * std::erfc(x / std::numbers::sqrt2); });
    } else {
      const auto one = S::Broadcast(1.0f);
      const auto t = S::Div(one, S::MulAdd(S::Broadcast(kRatio), size, one));
      auto p = S::Broadcast(kTail[0]);
      for (int i = 1; i < kTerms; ++i) p = S::MulAdd(p, t, S::Broadcast(kTail[i]));
      tail = S::Mul(S::Mul(p, t), bell);
    }
  }
  // Phi(-x) e^(x^2/2) = t (kTail[0] t^8 + ...), t = 1 / (1 + kRatio x), for x >= 0: relative error
  // 3.2e-8 before rounding.
  static constexpr float kRatio = 0.35f;
  static constexpr int kTerms = 9;
  static constexpr float kTail[kTerms] = {-0.0291151199f, 0.143818915f,  -0.255391985f,
                                          0.158797637f,   -0.022844132f, 0.105392426f,
                                          0.119863026f,   0.139857575f,  0.13962166f};
};

template <typename S, typename T>
struct Relu {
  using Reg = typename S::Reg;
  static Reg Value(Reg a) { return S::Max(a, S::Zero()); }
  static void Both(Reg a, Reg* value, Reg* slope) {
    *value = Value(a);
    *slope = S::IfPositive(a, S::Broadcast(1), S::Zero());
  }
};

template <typename S, typename T>
struct Gelu {
  using Reg = typename S::Reg;
  static Reg Value(Reg a) { return S::Mul(a, Phi(a, Normal<T, S>(a).tail)); }
  static void Both(Reg a, Reg* value, Reg* slope) {
    const Normal<T, S> normal(a);
    const Reg phi = Phi(a, normal.tail);
    *value = S::Mul(a, phi);
    const Reg root = S::Broadcast(static_cast<T>(std::numbers::inv_sqrtpi / std::numbers::sqrt2));
    *slope = S::MulAdd(S::Mul(a, normal.bell), root, phi);
  }
  static Reg Phi(Reg a, Reg tail) { return S::IfPositive(a, S::Sub(S::Broadcast(1), tail), tail); }
};

template <typename S, typename T>
struct Silu {
  using Reg = typename S::Reg;
  static Reg Sigmoid(Reg a) {
    const Reg one = S::Broadcast(1);
    return S::Div(one, S::Add(one, Exp(S::Sub(S::Zero(), a))));
  }
  static Reg Value(Reg a) { return S::Mul(a, Sigmoid(a)); }
  static void Both(Reg a, Reg* value, Reg* slope) {
    const Reg one = S::Broadcast(1), s = Sigmoid(a);
    *value = S::Mul(a, s);
    *slope = S::Mul(s, S::MulAdd(a, S::Sub(one, s), one));
  }
};

// (1 + tanh y) / 2 = sigmoid(2 y).
template <typename S, typename T>
struct GeluTanh {
  using Reg = typename S::Reg;
  static constexpr double kScale = 2 * std::numbers::inv_sqrtpi * std::numbers::sqrt2;
  static constexpr double kCubic = 0.044715;
  static Reg Gate(Reg a, Reg square) {
    const Reg inner = S::MulAdd(square, S::Broadcast(static_cast<T>(kScale * kCubic)),
                                S::Broadcast(static_cast<T>(kScale)));
    return Silu<S, T>::Sigmoid(S::Mul(a, inner));
  }
  static Reg Value(Reg a) { return S::Mul(a, Gate(a, S::Mul(a, a))); }
  static void Both(Reg a, Reg* value, Reg* slope) {
    const Reg one = S::Broadcast(1), square = S::Mul(a, a), s = Gate(a, square);
    *value = S::Mul(a, s);
    const Reg inner = S::MulAdd(square, S::Broadcast(static_cast<T>(3 * kScale * kCubic)),
                                S::Broadcast(static_cast<T>(kScale)));
    *slope = S::MulAdd(S::Mul(S::Mul(a, inner), s), S::Sub(one, s), s);
  }
};

// Calls f.template operator()<Act>() with the activation's kernels.
template <typename F>
void With(Activation activation, F f) {
  switch (activation) {
    case Activation::kRelu:
      return f.template operator()<Relu>();
    case Activation::kGelu:
      return f.template operator()<Gelu>();
    case Activation::kGeluTanh:
      return f.template operator()<GeluTanh>();
    case Activation::kSilu:
      return f.template operator()<Silu>();
  }
  CHECK(false) << "activation " << static_cast<int>(activation);
}

}  // namespace

Activation ActivationOf(MlpKind kind) {
  switch (kind) {
    case MlpKind::kRelu:
      return Activation::kRelu;
    case MlpKind::kGelu:
    case MlpKind::kGeglu:
      return Activation::kGelu;
    case MlpKind::kGeluTanh:
      return Activation::kGeluTanh;
    case MlpKind::kSwiglu:
      return Activation::kSilu;
  }
  CHECK(false) << "MLP kind " << static_cast<int>(kind);
  return Activation::kRelu;
}

template <typename T>
void Activate(Activation activation, int64_t n, const T* x, T* y, T* slope) {
  With(activation, [=]<template <typename, typename> typename Act>() {
    ForLanes<T>(n, [=]<typename S>(int64_t i) {
      typename S::Reg value, derivative;
      Act<S, T>::Both(S::Load(x + i), &value, &derivative);
      if (y != nullptr) S::Store(y + i, value);
      if (slope != nullptr) S::Store(slope + i, derivative);
    });
  });
}

template <typename T>
void MlpUnitsForward(int64_t rows, int64_t n, const MlpUnits<T>& units, Rows<T> a, Rows<T> c,
                     Rows<T> out) {
  const bool scaled = units.bias_kind == MlpUnitBias::kMultiplicative;
  const bool shifted = units.bias_kind == MlpUnitBias::kAdditive;
  With(units.activation, [&]<template <typename, typename> typename Act>() {
    for (int64_t r = 0; r < rows; ++r) {
      const T* const in = a.row(r);
      const T* const gate = units.gated ? c.row(r) : nullptr;
      T* const to = out.row(r);
      const T* const bias = units.bias;
      ForLanes<T>(n, [=]<typename S>(int64_t i) {
        auto u = Act<S, T>::Value(S::Load(in + i));
        if (gate != nullptr) u = S::Mul(u, S::Load(gate + i));
        if (scaled) u = S::Mul(u, S::Load(bias + i));
        if (shifted) u = S::Add(u, S::Load(bias + i));
        S::Store(to + i, u);
      });
    }
  });
}

template <typename T>
void MlpUnitsBackward(int64_t rows, int64_t n, const MlpUnits<T>& units, Rows<T> a, Rows<T> c,
                      Rows<T> d, Rows<T> dc, T* dbias) {
  const bool scaled = units.bias_kind == MlpUnitBias::kMultiplicative;
  const bool shifted = units.bias_kind == MlpUnitBias::kAdditive;
  With(units.activation, [&]<template <typename, typename> typename Act>() {
    for (int64_t r = 0; r < rows; ++r) {
      const T* const in = a.row(r);
      const T* const gate = units.gated ? c.row(r) : nullptr;
      T* const down = d.row(r);
      T* const to_gate = units.gated ? dc.row(r) : nullptr;
      const T* const bias = units.bias;
      ForLanes<T>(n, [=]<typename S>(int64_t i) {
        typename S::Reg value, slope;
        Act<S, T>::Both(S::Load(in + i), &value, &slope);
        auto v = S::Load(down + i);
        const auto linear = gate == nullptr ? S::Broadcast(1) : S::Load(gate + i);
        if (scaled) {
          const auto u = S::Mul(value, linear);
          S::Store(dbias + i, S::MulAdd(v, u, S::Load(dbias + i)));
          v = S::Mul(v, S::Load(bias + i));
        }
        if (shifted) S::Store(dbias + i, S::Add(v, S::Load(dbias + i)));
        if (gate != nullptr) S::Store(to_gate + i, S::Mul(v, value));
        S::Store(down + i, S::Mul(S::Mul(v, linear), slope));
      });
    }
  });
}

#define SAFFRON_INSTANTIATE(T)                                                              \
  template void Activate<T>(Activation, int64_t, const T*, T*, T*);                         \
  template void MlpUnitsForward<T>(int64_t, int64_t, const MlpUnits<T>&, Rows<T>, Rows<T>,  \
                                   Rows<T>);                                                \
  template void MlpUnitsBackward<T>(int64_t, int64_t, const MlpUnits<T>&, Rows<T>, Rows<T>, \
                                    Rows<T>, Rows<T>, T*);
SAFFRON_INSTANTIATE(float)
SAFFRON_INSTANTIATE(double)
#undef SAFFRON_INSTANTIATE

}  // namespace saffron
