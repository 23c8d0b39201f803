#pragma once
// Gradients of several small batches summed into that of the large one, so that a batch may be
// larger than the memory for its activations.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "core/math/aligned_array.h"
#include "core/math/parameter_arena.h"
#include "core/math/simd.h"

namespace saffron {

// For every part of a batch: Restore, the model's backward pass, Add; after the last one Install,
// and the arena's segments are the whole batch's.
template <typename T>
class GradientSum {
 public:
  // RESOURCE_EXHAUSTED when there is no memory for another gradient of every parameter.
  static absl::StatusOr<GradientSum> Create(int64_t parameters) {
    GradientSum sum;
    sum.sum_ = AlignedArray<T>(parameters);
    if (sum.sum_.ok()) return sum;
    return absl::ResourceExhaustedError(
        absl::StrCat("no memory to sum gradients of ", parameters, " parameters"));
  }

  // Before a model's backward pass: gives it back the segments that it set.
  void Restore(ParameterArena<T>& arena) {
    if (is_installed_) arena.segments().swap(own_);
    is_installed_ = false;
  }

  // Adds weight times the gradient in the arena; `first` starts a new sum.
  void Add(const ParameterArena<T>& arena, double weight, bool first) {
    const T w = static_cast<T>(weight);
    for (const ParameterSegment<T>& segment : arena.segments()) {
      T* sum = sum_.data() + segment.begin;
      if (first) std::fill_n(sum, segment.size, T{0});
      if (segment.gradient == nullptr) continue;
      AddScaled(segment.gradient, w, sum, segment.size);
    }
  }

  // The sum becomes the arena's gradient. Neighbours that decay alike become one segment.
  void Install(ParameterArena<T>& arena) {
    installed_.clear();
    for (const ParameterSegment<T>& segment : arena.segments()) {
      if (!installed_.empty() && installed_.back().decay == segment.decay &&
          installed_.back().begin + installed_.back().size == segment.begin) {
        installed_.back().size += segment.size;
      } else {
        installed_.push_back({.begin = segment.begin,
                              .size = segment.size,
                              .gradient = sum_.data() + segment.begin,
                              .decay = segment.decay});
      }
    }
    own_.swap(arena.segments());
    arena.segments().swap(installed_);
    is_installed_ = true;
  }

 private:
  static void AddScaled(const T* g, T weight, T* sum, int64_t n) {
    using S = Simd<T>;
    const auto w = S::Broadcast(weight);
    int64_t i = 0;
    for (; i + S::kLanes <= n; i += S::kLanes) {
      S::Store(sum + i, S::MulAdd(w, S::Load(g + i), S::Load(sum + i)));
    }
    for (; i < n; ++i) sum[i] = std::fma(weight, g[i], sum[i]);
  }

  AlignedArray<T> sum_;
  bool is_installed_ = false;
  std::vector<ParameterSegment<T>> own_, installed_;
};

}  // namespace saffron
