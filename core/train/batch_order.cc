#include "core/train/batch_order.h"

#include <algorithm>
#include <bit>

#include "core/base/check.h"
#include "core/base/random.h"

namespace saffron {
namespace {

// The finaliser of MurmurHash3 (Appleby, public domain): every input bit changes half the output's.
uint32_t Mix(uint32_t h) {
  h ^= h >> 16;
  h *= 0x85ebca6bu;
  h ^= h >> 13;
  h *= 0xc2b2ae35u;
  return h ^ (h >> 16);
}

}  // namespace

BatchOrder::BatchOrder(uint64_t seed, int64_t n) : seed_(seed), n_(n) {
  CHECK(n > 0) << "nothing to put in order";
  const int bits = std::bit_width(static_cast<uint64_t>(n - 1));
  half_bits_ = std::max(1, (bits + 1) / 2);
}

BatchOrder::RoundKeys BatchOrder::KeysOf(int64_t epoch) const {
  const CounterRandom random(seed_, RandomPurpose::kBatches);
  RoundKeys keys;
  for (int r = 0; r < kRounds; ++r) {
    keys[r] = random.Block(static_cast<uint64_t>(epoch) * kRounds + r)[0];
  }
  return keys;
}

int64_t BatchOrder::Permute(const RoundKeys& keys, int64_t i) const {
  const uint32_t mask = static_cast<uint32_t>((uint64_t{1} << half_bits_) - 1);
  do {  // at most four in expectation: the domain is less than 4 n
    uint32_t left = static_cast<uint32_t>(i >> half_bits_), right = static_cast<uint32_t>(i) & mask;
    for (const uint32_t key : keys) {
      const uint32_t next = left ^ (Mix(right + key) & mask);
      left = right;
      right = next;
    }
    i = (int64_t{left} << half_bits_) | right;
  } while (i >= n_);
  return i;
}

int64_t BatchOrder::At(int64_t epoch, int64_t i) const { return Permute(KeysOf(epoch), i); }

void BatchOrder::Batch(int64_t step, int64_t batch, std::vector<int64_t>* examples) const {
  examples->resize(batch);
  int64_t keys_epoch = -1;
  RoundKeys keys{};
  for (int64_t k = 0; k < batch; ++k) {
    const int64_t number = step * batch + k, epoch = number / n_;
    if (epoch != keys_epoch) {
      keys = KeysOf(epoch);
      keys_epoch = epoch;
    }
    (*examples)[k] = Permute(keys, number % n_);
  }
}

}  // namespace saffron
