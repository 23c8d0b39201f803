#pragma once
// Numbering distinct strings.

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace saffron {

// Numbers strings 0, 1, 2, ... in the order of first appearance. Open addressing with the hash kept
// beside the number, so that a probe seldom touches a string. Not thread-safe.
class Interner {
 public:
  Interner() : slots_(1 << 16) {}

  // The number of `text`, a new one if it was not seen before.
  uint32_t Intern(std::string_view text) {
    const uint64_t hash = Hash(text);
    size_t at = hash & (slots_.size() - 1);
    for (; slots_[at].number != kFree; at = (at + 1) & (slots_.size() - 1)) {
      if (slots_[at].hash == hash && strings_[slots_[at].number] == text) return slots_[at].number;
    }
    slots_[at] = {.hash = hash, .number = static_cast<uint32_t>(strings_.size())};
    strings_.emplace_back(text);
    if (strings_.size() * 2 > slots_.size()) Grow();
    return static_cast<uint32_t>(strings_.size()) - 1;
  }

  // By number.
  std::vector<std::string>& strings() { return strings_; }

 private:
  static constexpr uint32_t kFree = UINT32_MAX;
  struct Slot {
    uint64_t hash = 0;
    uint32_t number = kFree;
  };

  // Multiply-and-fold over 8-byte words. Not keyed: the worst a crafted text does is to be slow.
  static uint64_t Hash(std::string_view text) {
    uint64_t hash = text.size() * 0x9E3779B97F4A7C15u;
    const auto mix = [&hash](uint64_t word) {
      const auto product =
          static_cast<unsigned __int128>(hash ^ word) * uint64_t{0xD6E8FEB86659FD93u};
      hash = static_cast<uint64_t>(product) ^ static_cast<uint64_t>(product >> 64);
    };
    uint64_t word;
    for (; text.size() >= sizeof word; text.remove_prefix(sizeof word)) {
      std::memcpy(&word, text.data(), sizeof word);
      mix(word);
    }
    word = 0;
    std::memcpy(&word, text.data(), text.size());
    mix(word);
    return hash;
  }

  void Grow() {
    std::vector<Slot> old = std::exchange(slots_, std::vector<Slot>(slots_.size() * 2));
    for (const Slot& slot : old) {
      if (slot.number == kFree) continue;
      size_t at = slot.hash & (slots_.size() - 1);
      while (slots_[at].number != kFree) at = (at + 1) & (slots_.size() - 1);
      slots_[at] = slot;
    }
  }

  std::vector<Slot> slots_;
  std::vector<std::string> strings_;
};

}  // namespace saffron
