#pragma once
// A trial's memory limit, enforced by the kernel on the process that runs it.

#include <cstdint>

namespace saffron {

// Limits the private memory of the calling process (RLIMIT_DATA) while it lives; allocations beyond
// fail with std::bad_alloc. No effect when `bytes` is 0.
class ScopedMemoryLimit {
 public:
  explicit ScopedMemoryLimit(int64_t bytes);
  ~ScopedMemoryLimit();
  ScopedMemoryLimit(const ScopedMemoryLimit&) = delete;
  ScopedMemoryLimit& operator=(const ScopedMemoryLimit&) = delete;

 private:
  bool limited_ = false;
  uint64_t previous_ = 0;
};

}  // namespace saffron
