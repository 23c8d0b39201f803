#include "core/data/split.h"

#include <numeric>
#include <random>
#include <utility>

namespace saffron {

void NumpyShuffle(uint32_t seed, std::vector<int64_t>& values) {
  std::mt19937 words(seed);
  for (uint32_t i = static_cast<uint32_t>(values.size()); i-- > 1;) {
    uint32_t mask = i;
    for (int shift = 1; shift < 32; shift *= 2) mask |= mask >> shift;
    uint32_t j;
    do {
      j = static_cast<uint32_t>(words()) & mask;
    } while (j > i);
    std::swap(values[i], values[j]);
  }
}

Split SplitDocuments(int64_t documents) {
  Split split;
  for (int64_t i = 0; i < documents; ++i) {
    auto& part = i % 20 == 7 ? split.test : i % 20 == 13 ? split.valid : split.train;
    part.push_back(i);
  }
  NumpyShuffle(0, split.train);
  return split;
}

Split SplitImages(int64_t images) {
  std::vector<int64_t> order(images);
  std::iota(order.begin(), order.end(), 0);
  NumpyShuffle(0, order);
  const auto train_end = order.begin() + images * 80 / 100;
  const auto valid_end = order.begin() + images * 85 / 100;
  return {.train = {order.begin(), train_end},
          .valid = {train_end, valid_end},
          .test = {valid_end, order.end()}};
}

}  // namespace saffron
