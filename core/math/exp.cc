#include "core/math/exp.h"

#include <algorithm>

namespace saffron {
namespace {

// Calls `lanes(pointer to kLanes values)` over x[0..n), the tail through a buffer padded with
// `filler`.
template <typename T, typename Lanes>
void ForLanes(T* x, int64_t n, T filler, Lanes lanes) {
  constexpr int kLanes = Simd<T>::kLanes;
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) lanes(x + i);
  if (i == n) return;
  T tail[kLanes];
  std::fill(tail, tail + kLanes, filler);
  std::copy(x + i, x + n, tail);
  lanes(tail);
  std::copy(tail, tail + (n - i), x + i);
}

template <typename T>
void ExpAll(T* x, int64_t n) {
  using S = Simd<T>;
  ForLanes<T>(x, n, 0, [](T* p) { S::Store(p, Exp(S::Load(p))); });
}

template <typename T>
void LogAll(T* x, int64_t n) {
  using S = Simd<T>;
  ForLanes<T>(x, n, 1, [](T* p) { S::Store(p, Log(S::Load(p))); });
}

// Adds lanes up in double.
class LaneSum {
 public:
  void Add(__m256 e) {
    low_ = _mm256_add_pd(low_, _mm256_cvtps_pd(_mm256_castps256_ps128(e)));
    high_ = _mm256_add_pd(high_, _mm256_cvtps_pd(_mm256_extractf128_ps(e, 1)));
  }
  void Add(__m256d e) { low_ = _mm256_add_pd(low_, e); }
  double Total() const { return Simd<double>::Sum(_mm256_add_pd(low_, high_)); }

 private:
  __m256d low_ = _mm256_setzero_pd(), high_ = _mm256_setzero_pd();
};

// A NaN among the x is either the result or ignored; it then shows in SumExp.
template <typename T>
T MaxOf(const T* x, int64_t n) {
  using S = Simd<T>;
  T max = x[0];
  int64_t i = 0;
  if (n >= S::kLanes) {
    typename S::Reg lanes = S::Load(x);
    for (i = S::kLanes; i + S::kLanes <= n; i += S::kLanes) lanes = S::Max(lanes, S::Load(x + i));
    max = S::MaxLane(lanes);
  }
  for (; i < n; ++i) max = std::max(max, x[i]);
  return max;
}

// sum_i exp(x[i] - max); `store(i, lanes, how many of them count)` sees every exponential.
template <typename T, typename Store>
double SumExp(const T* x, int64_t n, T max, Store store) {
  using S = Simd<T>;
  LaneSum sum;
  const typename S::Reg shift = S::Broadcast(max);
  int64_t i = 0;
  for (; i + S::kLanes <= n; i += S::kLanes) {
    const auto e = ExpOfNonPositive(S::Sub(S::Load(x + i), shift));
    sum.Add(e);
    store(i, e, S::kLanes);
  }
  if (i < n) {
    T tail[S::kLanes];
    std::fill(tail, tail + S::kLanes, -std::numeric_limits<T>::infinity());
    std::copy(x + i, x + n, tail);
    const auto e = ExpOfNonPositive(S::Sub(S::Load(tail), shift));
    sum.Add(e);
    store(i, e, static_cast<int>(n - i));
  }
  return sum.Total();
}

template <typename T>
double LogSumExpOf(const T* x, int64_t n) {
  const T max = MaxOf(x, n);
  return max + std::log(SumExp(x, n, max, [](int64_t, auto, int) {}));
}

template <typename T>
double SoftmaxOf(T* x, int64_t n) {
  using S = Simd<T>;
  const T max = MaxOf(x, n);
  const double sum = SumExp(x, n, max, [x](int64_t i, auto e, int count) {
    if (count == S::kLanes) return S::Store(x + i, e);
    T tail[S::kLanes];
    S::Store(tail, e);
    std::copy(tail, tail + count, x + i);
  });
  const auto scale = S::Broadcast(static_cast<T>(1.0 / sum));
  ForLanes<T>(x, n, 0, [scale](T* p) { S::Store(p, S::Mul(S::Load(p), scale)); });
  return max + std::log(sum);
}

}  // namespace

void ExpInPlace(float* x, int64_t n) { ExpAll(x, n); }
void ExpInPlace(double* x, int64_t n) { ExpAll(x, n); }
void LogInPlace(float* x, int64_t n) { LogAll(x, n); }
void LogInPlace(double* x, int64_t n) { LogAll(x, n); }
double LogSumExp(const float* x, int64_t n) { return LogSumExpOf(x, n); }
double LogSumExp(const double* x, int64_t n) { return LogSumExpOf(x, n); }
double SoftmaxInPlace(float* x, int64_t n) { return SoftmaxOf(x, n); }
double SoftmaxInPlace(double* x, int64_t n) { return SoftmaxOf(x, n); }

}  // namespace saffron
