#pragma once
// Bounds of a sweep's numbers, as sweep.proto states them.

#include <cstdint>
#include <limits>

namespace saffron {

inline constexpr int64_t kSweepVersion = 1;
inline constexpr int64_t kCountMax = 1'000'000;  // of draws, points and variants
inline constexpr int64_t kSeedCountMax = 10'000;
inline constexpr int64_t kSeedMax = std::numeric_limits<int64_t>::max() / 2;
inline constexpr int64_t kThreadsMax = 1;
inline constexpr int64_t kRetryMax = 1000;
inline constexpr int64_t kUnlimited = -1;
inline constexpr int64_t kPoisonDefault = 5;
inline constexpr int kDerivationsMax = 64;
inline constexpr int64_t kVariantsDefault = 100'000;
inline constexpr size_t kNameBytesMax = 100;

}  // namespace saffron
