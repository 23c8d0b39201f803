#include "core/math/aligned_array.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>

namespace saffron {
namespace {

constexpr size_t kCacheLine = 64;
constexpr size_t kHugePage = size_t{2} << 20;
// From here on memory comes from the kernel directly, zeroed page by page as it is used.
constexpr size_t kMapped = size_t{64} << 10;

size_t RoundUp(size_t bytes, size_t unit) { return (bytes + unit - 1) / unit * unit; }

size_t MappedSize(size_t bytes) { return RoundUp(bytes, 4096); }

char* Map(size_t bytes) {
  void* p = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  return p == MAP_FAILED ? nullptr : static_cast<char*>(p);
}

// A mapping that starts on a huge page: a larger one, its ends cut off.
char* MapOnHugePage(size_t bytes) {
  char* const begin = Map(bytes + kHugePage);
  if (begin == nullptr) return nullptr;
  const size_t before = (kHugePage - reinterpret_cast<uintptr_t>(begin) % kHugePage) % kHugePage;
  if (before > 0) munmap(begin, before);
  if (before < kHugePage) munmap(begin + before + bytes, kHugePage - before);
  madvise(begin + before, bytes, MADV_HUGEPAGE);  // may be refused: then pages are small
  return begin + before;
}

}  // namespace

void* AllocateZeroed(size_t bytes) {
  if (bytes > (size_t{1} << 46)) return nullptr;
  if (bytes >= kHugePage) return MapOnHugePage(MappedSize(bytes));
  if (bytes >= kMapped) return Map(MappedSize(bytes));
  const size_t size = RoundUp(std::max(bytes, size_t{1}), kCacheLine);
  void* p = std::aligned_alloc(kCacheLine, size);
  if (p != nullptr) std::memset(p, 0, size);
  return p;
}

void FreeZeroed(void* p, size_t bytes) {
  if (p == nullptr) return;
  if (bytes >= kMapped) {
    munmap(p, MappedSize(bytes));
  } else {
    std::free(p);
  }
}

}  // namespace saffron
