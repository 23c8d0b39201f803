#pragma once
// An exponential moving average of parameters over training, which often evaluates better than the
// parameters themselves. Polyak & Juditsky, 1992, with exponential weights.
//
//   a_0 = p_0;  a_t = d_t a_(t-1) + (1 - d_t) p_t,   d_t = min(decay, (1 + t) / (10 + t))
//
// The rising d_t lets the average leave a start that is nothing like the end.

#include <algorithm>
#include <cstdint>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/types/span.h"
#include "core/base/check.h"
#include "core/math/aligned_array.h"
#include "core/math/simd.h"

namespace saffron {

template <typename T>
class ParameterAverage {
 public:
  // Starts at `parameters`; 0 < decay < 1. RESOURCE_EXHAUSTED when there is no memory.
  static absl::StatusOr<ParameterAverage> Start(absl::Span<const T> parameters, double decay) {
    CHECK(decay > 0 && decay < 1) << "decay " << decay;
    ParameterAverage average;
    average.decay_ = decay;
    average.values_ = AlignedArray<T>(static_cast<int64_t>(parameters.size()));
    if (!average.values_.ok()) {
      return absl::ResourceExhaustedError(
          absl::StrCat("no memory for the moving average of ", parameters.size(), " parameters"));
    }
    std::copy(parameters.begin(), parameters.end(), average.values_.data());
    return average;
  }

  // Takes in the parameters after step `step`, from 1.
  void Add(absl::Span<const T> parameters, int64_t step) {
    using S = Simd<T>;
    const int64_t n = values_.size();
    CHECK(n == static_cast<int64_t>(parameters.size())) << parameters.size() << " of " << n;
    const double t = static_cast<double>(step);
    const double decay = std::min(decay_, (1 + t) / (10 + t));
    const T kept = static_cast<T>(decay), rest = static_cast<T>(1 - decay);
    const auto kept_lanes = S::Broadcast(kept), rest_lanes = S::Broadcast(rest);
    T* a = values_.data();
    const T* p = parameters.data();
    int64_t i = 0;
    for (; i + S::kLanes <= n; i += S::kLanes) {
      S::Store(a + i,
               S::Add(S::Mul(kept_lanes, S::Load(a + i)), S::Mul(rest_lanes, S::Load(p + i))));
    }
    for (; i < n; ++i) a[i] = kept * a[i] + rest * p[i];
  }

  // All that later steps depend on; write into it to restore.
  absl::Span<T> values() { return values_.span(); }

  // Exchanges the average with `parameters`: to evaluate it, and again to go on.
  void Swap(absl::Span<T> parameters) {
    CHECK(static_cast<int64_t>(parameters.size()) == values_.size()) << parameters.size();
    std::swap_ranges(parameters.begin(), parameters.end(), values_.data());
  }

 private:
  double decay_ = 0;
  AlignedArray<T> values_;
};

}  // namespace saffron
