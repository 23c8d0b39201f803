#pragma once
// Exponential, logarithm and what softmax needs of them: in float eight lanes at a time (at most
// 2 ulp from the exact value over the whole range), in double through the C library.
//
// exp: x = n ln 2 + r with |r| <= ln(2)/2 (Cody and Waite's split of ln 2), then a polynomial in r.
// log: x = 2^e m with m in [sqrt(1/2), sqrt(2)), then a polynomial in m - 1. The polynomials are
// minimax fits of relative error 3e-9 and 8e-10 before rounding.

#include <immintrin.h>

#include <cmath>
#include <cstdint>
#include <limits>

#include "core/math/simd.h"

namespace saffron {
namespace exp_internal {

// e^r - 1 - r = r^2 q(r), so e^r = 1 + (r + r^2 q(r)).
inline __m256 ExpOfReduced(__m256 r) {
  __m256 q = _mm256_set1_ps(0.0013814467238262296f);
  q = _mm256_fmadd_ps(q, r, _mm256_set1_ps(0.008368780836462975f));
  q = _mm256_fmadd_ps(q, r, _mm256_set1_ps(0.04166839271783829f));
  q = _mm256_fmadd_ps(q, r, _mm256_set1_ps(0.1666651964187622f));
  q = _mm256_fmadd_ps(q, r, _mm256_set1_ps(0.4999999403953552f));
  q = _mm256_fmadd_ps(q, _mm256_mul_ps(r, r), r);
  return _mm256_add_ps(q, _mm256_set1_ps(1.0f));
}

// x - n ln 2, with ln 2 as a float of few bits (n times it is exact) and a rest.
inline __m256 ReduceByLn2(__m256 x, __m256 n) {
  const __m256 r = _mm256_fnmadd_ps(n, _mm256_set1_ps(0.693145751953125f), x);
  return _mm256_fnmadd_ps(n, _mm256_set1_ps(1.428606765330187e-6f), r);
}

}  // namespace exp_internal

// exp of eight floats: <= 2 ulp, subnormal results included; +inf above 88.72, 0 below -103.98;
// NaN stays NaN.
inline __m256 Exp(__m256 x) {
  // The constant is the first operand: max and min return the second where one is NaN.
  x = _mm256_max_ps(_mm256_set1_ps(-104.0f), x);
  x = _mm256_min_ps(_mm256_set1_ps(89.0f), x);
  const __m256i n = _mm256_cvtps_epi32(_mm256_mul_ps(x, _mm256_set1_ps(1.44269504088896341f)));
  const __m256 e = exp_internal::ExpOfReduced(exp_internal::ReduceByLn2(x, _mm256_cvtepi32_ps(n)));
  // 2^n in two factors: n itself may lie beyond the exponents of normal floats.
  const __m256i half = _mm256_srai_epi32(n, 1);
  const __m256i rest = _mm256_sub_epi32(n, half);
  const __m256i bias = _mm256_set1_epi32(127);
  const __m256 scale1 = _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(half, bias), 23));
  const __m256 scale2 = _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(rest, bias), 23));
  return _mm256_mul_ps(_mm256_mul_ps(e, scale1), scale2);
}

// exp of eight floats that are at most 0 (or NaN), as after subtracting a row's maximum: <= 2 ulp
// down to -87, exactly 0 below. A third cheaper than Exp.
inline __m256 ExpOfNonPositive(__m256 x) {
  const __m256 low = _mm256_set1_ps(-87.0f);
  const __m256 keep = _mm256_cmp_ps(x, low, _CMP_NLT_UQ);
  const __m256 n = _mm256_round_ps(_mm256_mul_ps(x, _mm256_set1_ps(1.44269504088896341f)),
                                   _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
  const __m256 e = exp_internal::ExpOfReduced(exp_internal::ReduceByLn2(x, n));
  const __m256i exponent = _mm256_slli_epi32(_mm256_cvtps_epi32(n), 23);
  const __m256 scaled = _mm256_castsi256_ps(_mm256_add_epi32(_mm256_castps_si256(e), exponent));
  return _mm256_and_ps(keep, scaled);
}

// Natural logarithm of eight floats: <= 2 ulp, subnormal arguments included; -inf at 0, NaN below,
// +inf at +inf.
inline __m256 Log(__m256 x) {
  const __m256 tiny =
      _mm256_cmp_ps(x, _mm256_set1_ps(std::numeric_limits<float>::min()), _CMP_LT_OQ);
  const __m256 normal = _mm256_blendv_ps(x, _mm256_mul_ps(x, _mm256_set1_ps(0x1p24f)), tiny);
  // Subtracting the bits of sqrt(1/2) makes the exponent field that of m in [sqrt(1/2), sqrt(2)).
  const __m256i bits = _mm256_castps_si256(normal);
  const __m256i root_half = _mm256_set1_epi32(0x3f3504f3);
  const __m256i e = _mm256_srai_epi32(_mm256_sub_epi32(bits, root_half), 23);
  const __m256 m = _mm256_castsi256_ps(_mm256_sub_epi32(bits, _mm256_slli_epi32(e, 23)));
  const __m256 exponent =
      _mm256_sub_ps(_mm256_cvtepi32_ps(e), _mm256_and_ps(tiny, _mm256_set1_ps(24.0f)));
  const __m256 f = _mm256_sub_ps(m, _mm256_set1_ps(1.0f));
  // log(1+f) = f - f^2/2 + f^3 p(f)
  __m256 p = _mm256_set1_ps(0.06754366308450699f);
  p = _mm256_fmadd_ps(p, f, _mm256_set1_ps(-0.11688858270645142f));
  p = _mm256_fmadd_ps(p, f, _mm256_set1_ps(0.11891945451498032f));
  p = _mm256_fmadd_ps(p, f, _mm256_set1_ps(-0.1240382045507431f));
  p = _mm256_fmadd_ps(p, f, _mm256_set1_ps(0.14218847453594208f));
  p = _mm256_fmadd_ps(p, f, _mm256_set1_ps(-0.16668061912059784f));
  p = _mm256_fmadd_ps(p, f, _mm256_set1_ps(0.20002153515815735f));
  p = _mm256_fmadd_ps(p, f, _mm256_set1_ps(-0.25000008940696716f));
  p = _mm256_fmadd_ps(p, f, _mm256_set1_ps(0.3333331346511841f));
  const __m256 f2 = _mm256_mul_ps(f, f);
  __m256 tail = _mm256_fmadd_ps(_mm256_mul_ps(p, f), f2, _mm256_mul_ps(f2, _mm256_set1_ps(-0.5f)));
  tail = _mm256_fmadd_ps(exponent, _mm256_set1_ps(1.428606765330187e-6f), tail);
  __m256 y = _mm256_add_ps(f, tail);
  y = _mm256_fmadd_ps(exponent, _mm256_set1_ps(0.693145751953125f), y);
  const __m256 zero = _mm256_setzero_ps();
  const __m256 infinity = _mm256_set1_ps(std::numeric_limits<float>::infinity());
  y = _mm256_blendv_ps(y, x, _mm256_cmp_ps(x, infinity, _CMP_EQ_OQ));
  y = _mm256_blendv_ps(y, _mm256_sub_ps(zero, infinity), _mm256_cmp_ps(x, zero, _CMP_EQ_OQ));
  return _mm256_blendv_ps(y, _mm256_set1_ps(std::numeric_limits<float>::quiet_NaN()),
                          _mm256_cmp_ps(x, zero, _CMP_NGE_UQ));
}

// Four doubles, through the C library.
inline __m256d Exp(__m256d x) {
  alignas(32) double v[4];
  _mm256_store_pd(v, x);
  return _mm256_set_pd(std::exp(v[3]), std::exp(v[2]), std::exp(v[1]), std::exp(v[0]));
}
inline __m256d ExpOfNonPositive(__m256d x) { return Exp(x); }
inline __m256d Log(__m256d x) {
  alignas(32) double v[4];
  _mm256_store_pd(v, x);
  return _mm256_set_pd(std::log(v[3]), std::log(v[2]), std::log(v[1]), std::log(v[0]));
}

// x[i] = exp(x[i]) and x[i] = log(x[i]), i < n. Same bits for an element wherever it stands.
void ExpInPlace(float* x, int64_t n);
void ExpInPlace(double* x, int64_t n);
void LogInPlace(float* x, int64_t n);
void LogInPlace(double* x, int64_t n);

// log sum_i exp(x[i]), n > 0 with a finite maximum, accumulated in double after subtracting it.
// NaN for a NaN or +inf among the x.
double LogSumExp(const float* x, int64_t n);
double LogSumExp(const double* x, int64_t n);

// x = softmax(x), n > 0; returns log sum_i exp(x[i]) of the argument.
double SoftmaxInPlace(float* x, int64_t n);
double SoftmaxInPlace(double* x, int64_t n);

}  // namespace saffron
