#include "core/transformer/cross_entropy.h"

#include <algorithm>
#include <cmath>

#include "core/math/exp.h"
#include "core/math/lanes.h"

namespace saffron {
namespace {

template <typename T>
T MaxOf(const T* z, int64_t n) {
  using S = Simd<T>;
  T max = z[0];
  int64_t i = 0;
  if (n >= 2 * S::kLanes) {
    auto even = S::Load(z), odd = S::Load(z + S::kLanes);
    for (i = 2 * S::kLanes; i + 2 * S::kLanes <= n; i += 2 * S::kLanes) {
      even = S::Max(even, S::Load(z + i));
      odd = S::Max(odd, S::Load(z + i + S::kLanes));
    }
    max = S::MaxLane(S::Max(even, odd));
  }
  for (; i < n; ++i) max = std::max(max, z[i]);
  return max;
}

// z = exp(z - max); returns their sum, added up in double every 512.
template <typename T>
double ExpSum(T* z, int64_t n, T max) {
  constexpr int64_t kStretch = 512;
  double sum = 0;
  for (int64_t begin = 0; begin < n; begin += kStretch) {
    T* const part = z + begin;
    sum += SumLanes<T>(std::min(kStretch, n - begin), [=]<typename S>(int64_t i) {
      const auto e = ExpOfNonPositive(S::Sub(S::Load(part + i), S::Broadcast(max)));
      S::Store(part + i, e);
      return e;
    });
  }
  return sum;
}

}  // namespace

template <typename T>
double CrossEntropyGradient(int64_t rows, int64_t classes, const int32_t* targets, double smoothing,
                            double scale, Rows<T> z) {
  double loss = 0;
  const T spread = static_cast<T>(scale * smoothing / static_cast<double>(classes));
  for (int64_t r = 0; r < rows; ++r) {
    T* const row = z.row(r);
    const int32_t target = targets[r];
    if (target == kIgnoredTarget) {
      std::fill_n(row, classes, T{0});
      continue;
    }
    loss -= (1 - smoothing) * static_cast<double>(row[target]);
    if (smoothing > 0) {
      const double sum =
          SumLanes<T>(classes, [=]<typename S>(int64_t i) { return S::Load(row + i); });
      loss -= smoothing * sum / static_cast<double>(classes);
    }
    const T max = MaxOf(row, classes);
    const double sum = ExpSum(row, classes, max);
    loss += static_cast<double>(max) + std::log(sum);
    const T factor = static_cast<T>(scale / sum);
    ForLanes<T>(classes, [=]<typename S>(int64_t i) {
      const auto p = S::Mul(S::Load(row + i), S::Broadcast(factor));
      S::Store(row + i, S::Sub(p, S::Broadcast(spread)));
    });
    row[target] -= static_cast<T>(scale * (1 - smoothing));
  }
  return loss;
}

template <typename T>
void CrossEntropyEvaluate(int64_t rows, int64_t classes, const int32_t* targets, Rows<T> z,
                          Evaluation& result) {
  for (int64_t r = 0; r < rows; ++r) {
    const int32_t target = targets[r];
    if (target == kIgnoredTarget) continue;
    const T* const row = z.row(r);
    ++result.targets;
    result.nats += LogSumExp(row, classes) - static_cast<double>(row[target]);
    result.correct += row[target] == MaxOf(row, classes) &&
                      std::find(row, row + target, row[target]) == row + target;
  }
}

#define SAFFRON_INSTANTIATE(T)                                                              \
  template double CrossEntropyGradient<T>(int64_t, int64_t, const int32_t*, double, double, \
                                          Rows<T>);                                         \
  template void CrossEntropyEvaluate<T>(int64_t, int64_t, const int32_t*, Rows<T>, Evaluation&);
SAFFRON_INSTANTIATE(float)
SAFFRON_INSTANTIATE(double)
#undef SAFFRON_INSTANTIATE

}  // namespace saffron
