#pragma once
// Least-significant-digit radix sort: stable, linear, the same result on every machine.

#include <array>
#include <bit>
#include <cstdint>
#include <vector>

namespace saffron {

// Sorts `items` by `key(item)` (an unsigned integer <= key_max), stably. `scratch` is resized as
// needed; reuse it between calls.
template <typename T, typename KeyOf>
void RadixSort(std::vector<T>* items, std::vector<T>* scratch, uint64_t key_max, KeyOf key) {
  constexpr int kDigitBits = 11;
  constexpr uint64_t kMask = (1u << kDigitBits) - 1;
  const int bits = std::bit_width(key_max);
  scratch->resize(items->size());
  for (int shift = 0; shift < bits; shift += kDigitBits) {
    std::array<size_t, kMask + 1> start{};
    for (const T& item : *items) ++start[(key(item) >> shift) & kMask];
    size_t sum = 0;
    for (size_t& s : start) {
      const size_t count = s;
      s = sum;
      sum += count;
    }
    for (const T& item : *items) (*scratch)[start[(key(item) >> shift) & kMask]++] = item;
    items->swap(*scratch);
  }
}

}  // namespace saffron
