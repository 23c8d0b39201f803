#pragma once
// A small text with structure: words follow a random table, and documents end.

#include <cstdint>
#include <string>
#include <vector>

#include "core/data/data_store.h"

namespace saffron {

// `tokens` ids below `vocab`; id 1 is <eod>.
inline std::vector<int32_t> SampleStream(int vocab, int64_t tokens, uint64_t seed) {
  std::vector<int32_t> stream;
  uint64_t state = seed;
  const auto draw = [&state](uint64_t below) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    return static_cast<int32_t>((state >> 33) % below);
  };
  for (int64_t t = 0; t < tokens; ++t) {
    if (draw(40) == 0) {
      stream.push_back(1);
    } else if (t > 1 && draw(3) > 0) {
      stream.push_back((stream[t - 1] * 7 + stream[t - 2] * (draw(4) / 3) + draw(3)) % vocab);
    } else {
      stream.push_back(draw(1 + draw(vocab)));
    }
  }
  return stream;
}

inline TextDataset SampleText(int vocab, int64_t tokens, uint64_t seed = 1) {
  TextDataset data;
  data.stream_key = "sample" + std::to_string(vocab) + "/" + std::to_string(seed);
  data.vocab = vocab;
  data.eod = 1;
  data.train = SampleStream(vocab, tokens, seed);
  data.valid = SampleStream(vocab, 500, seed + 1);
  data.test = SampleStream(vocab, 500, seed + 2);
  return data;
}

}  // namespace saffron
