#pragma once
// Counter-based randomness: a draw is a pure function of (seed, purpose, index), never of the order
// of calls, so that a retry, a resumed trial or another worker replays exactly.
// Philox4x32-10: Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011.

#include <array>
#include <cmath>
#include <cstdint>
#include <numbers>

namespace saffron {

// What a stream of draws is for. Values are part of the numerics version: append, never renumber.
enum class RandomPurpose : uint32_t {
  kWeights = 1,
  kBatches = 2,
  kNoise = 3,
  kDropout = 4,
  kSweep = 5,
  kTest = 6,
  kBackoff = 7,
};

class CounterRandom {
 public:
  CounterRandom(uint64_t seed, RandomPurpose purpose, uint32_t substream = 0)
      : seed_(seed), purpose_(static_cast<uint32_t>(purpose)), substream_(substream) {}

  // The 128 bits of block `index`.
  std::array<uint32_t, 4> Block(uint64_t index) const {
    std::array<uint32_t, 4> c = {static_cast<uint32_t>(index), static_cast<uint32_t>(index >> 32),
                                 purpose_, substream_};
    uint32_t k0 = static_cast<uint32_t>(seed_), k1 = static_cast<uint32_t>(seed_ >> 32);
    for (int round = 0; round < 10; ++round) {
      const uint64_t p0 = uint64_t{0xD2511F53u} * c[0], p1 = uint64_t{0xCD9E8D57u} * c[2];
      c = {static_cast<uint32_t>(p1 >> 32) ^ c[1] ^ k0, static_cast<uint32_t>(p1),
           static_cast<uint32_t>(p0 >> 32) ^ c[3] ^ k1, static_cast<uint32_t>(p0)};
      k0 += 0x9E3779B9u;
      k1 += 0xBB67AE85u;
    }
    return c;
  }

  uint64_t Bits(uint64_t index) const {
    const auto b = Block(index);
    return (uint64_t{b[1]} << 32) | b[0];
  }
  // Uniform on [0, 1), 53 bits.
  double Uniform(uint64_t index) const {
    return static_cast<double>(Bits(index) >> 11) * 0x1.0p-53;
  }
  // Standard normal (Box-Muller on one block).
  double Normal(uint64_t index) const {
    const auto b = Block(index);
    const double u = (static_cast<double>((uint64_t{b[1]} << 32 | b[0]) >> 11) + 0.5) * 0x1.0p-53;
    const double v = static_cast<double>((uint64_t{b[3]} << 32 | b[2]) >> 11) * 0x1.0p-53;
    return std::sqrt(-2.0 * std::log(u)) * std::cos(2.0 * std::numbers::pi * v);
  }
  // Uniform on {0, ..., n-1}, n > 0. Bias below 2^-32 for n < 2^32.
  uint64_t Below(uint64_t index, uint64_t n) const {
    return static_cast<uint64_t>((static_cast<unsigned __int128>(Bits(index)) * n) >> 64);
  }

 private:
  uint64_t seed_;
  uint32_t purpose_, substream_;
};

}  // namespace saffron
