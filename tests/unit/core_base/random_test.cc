#include "core/base/random.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

namespace saffron {
namespace {

using Words = std::array<uint32_t, 4>;

// Known answers of Philox4x32-10, published with Random123 (kat_vectors).
TEST(CounterRandom, IsPhilox) {
  EXPECT_EQ(CounterRandom(0, static_cast<RandomPurpose>(0), 0).Block(0),
            (Words{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
  EXPECT_EQ(CounterRandom(~uint64_t{0}, static_cast<RandomPurpose>(~0u), ~0u).Block(~uint64_t{0}),
            (Words{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}));
  EXPECT_EQ(CounterRandom(0x299f31d0a4093822, static_cast<RandomPurpose>(0x13198a2e), 0x03707344)
                .Block(0x85a308d3243f6a88),
            (Words{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}));
}

TEST(CounterRandom, SeedPurposeSubstreamAndIndexAllMatter) {
  const auto bits = [](uint64_t seed, RandomPurpose purpose, uint32_t substream, uint64_t index) {
    return CounterRandom(seed, purpose, substream).Bits(index);
  };
  const uint64_t base = bits(1, RandomPurpose::kTest, 0, 0);
  EXPECT_EQ(base, bits(1, RandomPurpose::kTest, 0, 0));
  EXPECT_NE(base, bits(2, RandomPurpose::kTest, 0, 0));
  EXPECT_NE(base, bits(1, RandomPurpose::kNoise, 0, 0));
  EXPECT_NE(base, bits(1, RandomPurpose::kTest, 1, 0));
  EXPECT_NE(base, bits(1, RandomPurpose::kTest, 0, 1));
}

TEST(CounterRandom, UniformHasItsMomentsAndRange) {
  const CounterRandom random(3, RandomPurpose::kTest);
  const int n = 100'000;
  double sum = 0, squares = 0;
  for (int i = 0; i < n; ++i) {
    const double u = random.Uniform(i);
    ASSERT_GE(u, 0);
    ASSERT_LT(u, 1);
    sum += u;
    squares += u * u;
  }
  EXPECT_NEAR(sum / n, 0.5, 0.005);  // five standard errors
  EXPECT_NEAR(squares / n, 1.0 / 3, 0.005);
}

TEST(CounterRandom, NormalHasItsMoments) {
  const CounterRandom random(3, RandomPurpose::kTest);
  const int n = 100'000;
  double sum = 0, squares = 0, fourth = 0;
  for (int i = 0; i < n; ++i) {
    const double x = random.Normal(i);
    sum += x;
    squares += x * x;
    fourth += x * x * x * x;
  }
  EXPECT_NEAR(sum / n, 0, 0.016);
  EXPECT_NEAR(squares / n, 1, 0.025);
  EXPECT_NEAR(fourth / n, 3, 0.2);
}

TEST(CounterRandom, BelowIsEvenAndInRange) {
  const CounterRandom random(3, RandomPurpose::kTest);
  std::vector<int> counts(7);
  for (int i = 0; i < 70'000; ++i) {
    const uint64_t k = random.Below(i, 7);
    ASSERT_LT(k, 7u);
    ++counts[k];
  }
  EXPECT_GT(*std::min_element(counts.begin(), counts.end()), 9'500);
  EXPECT_EQ(random.Below(0, 1), 0u);
}

}  // namespace
}  // namespace saffron
