#pragma once
// Zero-filled memory on cache-line boundaries, sized once. Large arrays ask for huge pages: kernels
// walk tables of megabytes row by row, and would otherwise miss the TLB at every row.

#include <cstddef>
#include <cstdint>
#include <memory>

#include "absl/types/span.h"

namespace saffron {

// `bytes` of zeros at a multiple of 64 (of 2 MiB when larger than that), or nullptr when there is
// no memory. Pages of larger sizes are not touched before they are used.
void* AllocateZeroed(size_t bytes);
// `bytes` as when allocated; p may be null.
void FreeZeroed(void* p, size_t bytes);

template <typename T>
class AlignedArray {
 public:
  AlignedArray() = default;
  // Check ok() before use when `size` comes from the user's input.
  explicit AlignedArray(int64_t size)
      : data_(static_cast<T*>(AllocateZeroed(static_cast<size_t>(size) * sizeof(T))),
              Free{static_cast<size_t>(size) * sizeof(T)}),
        size_(data_ == nullptr ? 0 : size) {}

  bool ok() const { return data_ != nullptr; }
  T* data() { return data_.get(); }
  const T* data() const { return data_.get(); }
  int64_t size() const { return size_; }
  T& operator[](int64_t i) { return data_.get()[i]; }
  const T& operator[](int64_t i) const { return data_.get()[i]; }
  absl::Span<T> span() { return absl::MakeSpan(data(), static_cast<size_t>(size_)); }
  absl::Span<const T> span() const {
    return absl::MakeConstSpan(data(), static_cast<size_t>(size_));
  }

 private:
  struct Free {
    size_t bytes = 0;
    void operator()(T* p) const { FreeZeroed(p, bytes); }
  };
  std::unique_ptr<T[], Free> data_;
  int64_t size_ = 0;
};

}  // namespace saffron
