#pragma once
// Which documents or images are for training, validation and test: a pure function of their number,
// equal to what the reference experiments did in NumPy.

#include <cstdint>
#include <vector>

namespace saffron {

// Shuffles as NumPy's `RandomState(seed).shuffle` shuffles an array of one dimension (the legacy
// generator, whose stream NumPy froze in NEP 19): MT19937, then Fisher-Yates from the back, each
// index drawn from 32-bit words masked to its width and rejected while too large. Values < 2^32.
void NumpyShuffle(uint32_t seed, std::vector<int64_t>& values);

struct Split {
  std::vector<int64_t> train, valid, test;
};

// Documents i (in corpus order): i % 20 == 7 test, i % 20 == 13 validation, both in corpus order;
// the rest training, shuffled with seed 0. No part is empty when `documents` is at least 20.
Split SplitDocuments(int64_t documents);
inline constexpr int64_t kDocumentsMin = 20;

// Images: all indices shuffled with seed 0; the first 80 % train (8,000 of 10,000), the next 5 %
// validate (500), the last 15 % test (1,500).
Split SplitImages(int64_t images);

}  // namespace saffron
