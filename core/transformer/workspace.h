#pragma once
// One allocation for everything that a network computes in: laid out twice, first to learn the
// size, then for good.

#include <cstdint>

#include "core/transformer/linear.h"

namespace saffron {

template <typename T>
class Workspace {
 public:
  // Without memory (base null) it only counts. With bf16 (that must outlive the weights taken), the
  // products of the weights taken are in bfloat16.
  explicit Workspace(T* base, const Bf16Scratch* bf16 = nullptr) : base_(base), bf16_(bf16) {}

  // n numbers on a cache line; null while counting.
  T* Take(int64_t n) {
    T* const p = base_ == nullptr ? nullptr : base_ + used_;
    constexpr int64_t kLine = 64 / sizeof(T);
    used_ += (n + kLine - 1) / kLine * kLine;
    return p;
  }
  Rows<T> TakeRows(int64_t rows, int64_t n) {
    const int64_t stride = StrideOf<T>(n);
    return {Take(rows * stride), stride};
  }
  // n numbers of another kind.
  template <typename U>
  U* TakeAs(int64_t n) {
    constexpr int64_t kSize = sizeof(T);
    return reinterpret_cast<U*>(Take((n * static_cast<int64_t>(sizeof(U)) + kSize - 1) / kSize));
  }
  template <typename U>
  Rows<U> TakeRowsAs(int64_t rows, int64_t n) {
    const int64_t stride = StrideOf<U>(n);
    return {TakeAs<U>(rows * stride), stride};
  }
  // A weight's packed copies; the one of the backward pass only to train.
  PackedWeight<T> TakeWeight(int64_t in, int64_t out, bool train) {
    PackedWeight<T> w{.in = in, .out = out, .bf16 = bf16_};
    w.forward = Take(PackedRight<T>::Size(in, out, bf16_ != nullptr));
    if (train) w.backward = Take(PackedRight<T>::Size(out, in, bf16_ != nullptr));
    return w;
  }
  int64_t used() const { return used_; }
  const Bf16Scratch* bf16() const { return bf16_; }

 private:
  T* base_;
  const Bf16Scratch* bf16_;
  int64_t used_ = 0;
};

// Where the tensor that begins at `begin` is in `arena` (parameters or gradients); null where the
// model has none (begin < 0), or the workspace only counts (no arena).
template <typename T>
T* At(T* arena, int64_t begin) {
  return begin < 0 || arena == nullptr ? nullptr : arena + begin;
}

}  // namespace saffron
