#include "core/math/aligned_array.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>

namespace saffron {
namespace {

constexpr size_t kCacheLine = 64;
constexpr size_t kHugePage = size_t{2} << 20;

size_t RoundUp(size_t bytes, size_t unit) { return (bytes + unit - 1) / unit * unit; }

}  // namespace

void* AllocateZeroed(size_t bytes) {
  const bool large = bytes >= kHugePage;
  const size_t alignment = large ? kHugePage : kCacheLine;
  const size_t size = RoundUp(std::max(bytes, size_t{1}), large ? 4096 : kCacheLine);
  if (size < bytes) return nullptr;
  void* p = std::aligned_alloc(alignment, RoundUp(size, alignment));
  if (p == nullptr) return nullptr;
  if (large) {
    // Dropping the pages makes them read as zeros without writing them. Advice may be refused.
    madvise(p, size, MADV_HUGEPAGE);
    if (madvise(p, size, MADV_DONTNEED) == 0) return p;
  }
  std::memset(p, 0, size);
  return p;
}

void FreeZeroed(void* p) { std::free(p); }

}  // namespace saffron
