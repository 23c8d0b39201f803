#pragma once
// The order in which training examples are visited: each epoch is its own permutation of all of
// them, any element of which is computed alone, so that a run can be entered at any step and no
// table of positions is kept.

#include <array>
#include <cstdint>
#include <vector>

namespace saffron {

// Pseudo-random permutations of {0, ..., n-1}, one for each (seed, epoch): a Feistel network on the
// smallest even number of bits that holds n, walked until it lands below n (Black and Rogaway,
// "Ciphers with arbitrary finite domains", CT-RSA 2002). Thread-safe.
class BatchOrder {
 public:
  BatchOrder(uint64_t seed, int64_t n);  // n > 0

  // Examples of step `step` (from 0): numbers step*batch ... of all epochs strung together, so a
  // batch may end one epoch and begin the next. Resizes `examples` to `batch`.
  void Batch(int64_t step, int64_t batch, std::vector<int64_t>* examples) const;

  // Element `i` of the permutation of `epoch`, 0 <= i < n.
  int64_t At(int64_t epoch, int64_t i) const;

 private:
  static constexpr int kRounds = 6;
  using RoundKeys = std::array<uint32_t, kRounds>;
  RoundKeys KeysOf(int64_t epoch) const;
  int64_t Permute(const RoundKeys& keys, int64_t i) const;

  uint64_t seed_;
  int64_t n_;
  int half_bits_;
};

}  // namespace saffron
