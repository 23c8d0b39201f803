#pragma once
// Elementwise kernels written once: over whole registers, then over what is left, one number at a
// time with the same arithmetic.

#include <immintrin.h>

#include <cmath>
#include <cstdint>

#include "core/math/exp.h"
#include "core/math/simd.h"

namespace saffron {

// A "register" of one number: what Simd<T> has, so that a kernel runs over a tail unchanged.
template <typename T>
struct Lane {
  using Reg = T;
  static constexpr int kLanes = 1;
  static Reg Load(const T* p) { return *p; }
  static void Store(T* p, Reg a) { *p = a; }
  static Reg Broadcast(T a) { return a; }
  static Reg Zero() { return 0; }
  static Reg Add(Reg a, Reg b) { return a + b; }
  static Reg Sub(Reg a, Reg b) { return a - b; }
  static Reg Mul(Reg a, Reg b) { return a * b; }
  static Reg Div(Reg a, Reg b) { return a / b; }
  static Reg Sqrt(Reg a) { return std::sqrt(a); }
  static Reg MulAdd(Reg a, Reg b, Reg c) { return std::fma(a, b, c); }
  static Reg Max(Reg a, Reg b) { return a > b ? a : b; }
  static Reg Abs(Reg a) { return std::abs(a); }
  static Reg IfPositive(Reg a, Reg yes, Reg no) { return a > 0 ? yes : no; }
  static T Sum(Reg a) { return a; }
  static T MaxLane(Reg a) { return a; }
};

// Exponentials of a single number, with the bits that it has in a register.
inline float Exp(float x) { return _mm256_cvtss_f32(Exp(_mm256_set1_ps(x))); }
inline double Exp(double x) { return std::exp(x); }
inline float ExpOfNonPositive(float x) {
  return _mm256_cvtss_f32(ExpOfNonPositive(_mm256_set1_ps(x)));
}
inline double ExpOfNonPositive(double x) { return std::exp(x); }

// Calls f.template operator()<S>(i) for i = 0, kLanes, ...: with S = Simd<T> while whole registers
// fit below n, then with S = Lane<T>.
template <typename T, typename F>
inline void ForLanes(int64_t n, F f) {
  int64_t i = 0;
  for (; i + Simd<T>::kLanes <= n; i += Simd<T>::kLanes) f.template operator()<Simd<T>>(i);
  for (; i < n; ++i) f.template operator()<Lane<T>>(i);
}

// Sum over i < n of what f.template operator()<S>(i) returns for its lanes; two chains, added up in
// a fixed order.
template <typename T, typename F>
inline T SumLanes(int64_t n, F f) {
  using S = Simd<T>;
  auto even = S::Zero(), odd = S::Zero();
  int64_t i = 0;
  for (; i + 2 * S::kLanes <= n; i += 2 * S::kLanes) {
    even = S::Add(even, f.template operator()<S>(i));
    odd = S::Add(odd, f.template operator()<S>(i + S::kLanes));
  }
  if (i + S::kLanes <= n) {
    even = S::Add(even, f.template operator()<S>(i));
    i += S::kLanes;
  }
  T sum = S::Sum(S::Add(even, odd));
  for (; i < n; ++i) sum += f.template operator()<Lane<T>>(i);
  return sum;
}

}  // namespace saffron
