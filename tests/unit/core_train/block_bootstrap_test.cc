#include "core/train/block_bootstrap.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "core/base/random.h"

namespace saffron {
namespace {

std::vector<double> Noise(int blocks, int block, uint64_t seed) {
  const CounterRandom random(seed, RandomPurpose::kTest);
  std::vector<double> values;
  for (int b = 0; b < blocks; ++b) values.insert(values.end(), block, random.Normal(b));
  return values;
}

TEST(BlockBootstrap, HoldsTheTruthAboutNineteenTimesInTwenty) {
  int held = 0;
  for (uint64_t seed = 1; seed <= 200; ++seed) {
    const Interval interval = BlockBootstrap(Noise(60, 10, seed), 10);
    held += interval.low <= 0 && 0 <= interval.high;
  }
  EXPECT_GT(held, 178);
  EXPECT_LT(held, 200);
}

TEST(BlockBootstrap, IsAsWideAsTheMeanOfTheBlocksIsUncertain) {
  const Interval interval = BlockBootstrap(Noise(400, 10, 1), 10);
  EXPECT_NEAR(interval.high - interval.low, 2 * 1.96 / std::sqrt(400.0), 0.02);
  // Drawing tokens instead would think ten times as many were independent.
  const Interval naive = BlockBootstrap(Noise(400, 10, 1), 1);
  EXPECT_LT(naive.high - naive.low, 0.5 * (interval.high - interval.low));
}

TEST(BlockBootstrap, OfOneBlockIsItsMean) {
  const Interval interval = BlockBootstrap({1.0, 2.0, 3.0}, 500);
  EXPECT_DOUBLE_EQ(interval.mean, 2);
  EXPECT_DOUBLE_EQ(interval.low, 2);
  EXPECT_DOUBLE_EQ(interval.high, 2);
}

}  // namespace
}  // namespace saffron
