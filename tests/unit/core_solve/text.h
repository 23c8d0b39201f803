#pragma once
// Small made-up text for the tests of this room.

#include <string>

#include "core/base/random.h"
#include "core/data/data_store.h"

namespace saffron {

// A stream in which each token depends on the two before it, frequent ids being low, cut into
// train (`tokens`), valid and test (`tokens` / 10 each).
inline TextDataset MadeUpText(int vocab, int64_t tokens, uint64_t seed = 1) {
  const CounterRandom random(seed, RandomPurpose::kTest);
  TextDataset data;
  data.fingerprint = "made-up";
  data.vocab = vocab;
  data.eod = 1;
  data.stream_key = "made-up-" + std::to_string(vocab) + "-" + std::to_string(seed);
  std::vector<int32_t> all = {0, 1};
  for (int64_t t = 2; t < tokens + tokens / 5; ++t) {
    const double u = random.Uniform(t);
    const int32_t fresh = static_cast<int32_t>(u * u * u * vocab);
    const bool follow = random.Uniform(t + (int64_t{1} << 40)) < 0.6;
    all.push_back(follow ? (all[t - 1] * 5 + all[t - 2] + fresh % 3) % vocab : fresh);
  }
  data.train.assign(all.begin(), all.begin() + tokens);
  data.valid.assign(all.begin() + tokens, all.begin() + tokens + tokens / 10);
  data.test.assign(all.begin() + tokens + tokens / 10, all.end());
  for (int i = 0; i < vocab; ++i) data.types.push_back(std::to_string(i));
  return data;
}

}  // namespace saffron
