#include "core/data/split.h"

#include <gmock/gmock.h>

#include <algorithm>
#include <numeric>

namespace saffron {
namespace {

using testing::ElementsAre;

std::vector<int64_t> Permutation(uint32_t seed, int64_t n) {
  std::vector<int64_t> values(n);
  std::iota(values.begin(), values.end(), 0);
  NumpyShuffle(seed, values);
  return values;
}

std::vector<int64_t> First(std::vector<int64_t> values, size_t n) {
  values.resize(n);
  return values;
}

// The expected values are what NumPy prints for RandomState(seed).permutation(n).
TEST(NumpyShuffle, GivesNumpysPermutations) {
  EXPECT_THAT(Permutation(0, 10), ElementsAre(2, 8, 4, 9, 1, 6, 7, 3, 0, 5));
  EXPECT_THAT(Permutation(42, 10), ElementsAre(8, 1, 5, 0, 7, 2, 9, 4, 3, 6));
  EXPECT_THAT(Permutation(4294967295u, 10), ElementsAre(6, 9, 5, 1, 8, 0, 7, 4, 2, 3));
  EXPECT_THAT(First(Permutation(7, 65537), 6),
              ElementsAre(47804, 15466, 49000, 13259, 14555, 60170));
}

TEST(NumpyShuffle, LeavesNothingAndOneAlone) {
  EXPECT_THAT(Permutation(0, 0), ElementsAre());
  EXPECT_THAT(Permutation(0, 1), ElementsAre(0));
}

TEST(SplitDocuments, IsTheReferenceExperimentsSplit) {
  const Split split = SplitDocuments(233);
  EXPECT_THAT(First(split.train, 8), ElementsAre(14, 89, 37, 5, 209, 92, 129, 136));
  EXPECT_EQ(split.train.size(), 210u);
  EXPECT_THAT(split.test, ElementsAre(7, 27, 47, 67, 87, 107, 127, 147, 167, 187, 207, 227));
  EXPECT_THAT(split.valid, ElementsAre(13, 33, 53, 73, 93, 113, 133, 153, 173, 193, 213));
}

TEST(SplitDocuments, OfTwentyLeavesNoPartEmpty) {
  const Split split = SplitDocuments(kDocumentsMin);
  EXPECT_THAT(split.train,
              ElementsAre(1, 6, 9, 11, 16, 4, 2, 18, 19, 10, 8, 15, 12, 3, 0, 5, 17, 14));
  EXPECT_THAT(split.test, ElementsAre(7));
  EXPECT_THAT(split.valid, ElementsAre(13));
}

TEST(SplitImages, UsesEachImageOnceInNumpysOrder) {
  const Split split = SplitImages(10000);
  EXPECT_EQ(split.train.size(), 8000u);
  EXPECT_EQ(split.valid.size(), 500u);
  EXPECT_EQ(split.test.size(), 1500u);
  EXPECT_THAT(First(split.train, 5), ElementsAre(9394, 898, 2398, 5906, 2343));
  EXPECT_EQ(split.test.back(), 2732);
  std::vector<int64_t> all = split.train;
  all.insert(all.end(), split.valid.begin(), split.valid.end());
  all.insert(all.end(), split.test.begin(), split.test.end());
  std::sort(all.begin(), all.end());
  for (int64_t i = 0; i < 10000; ++i) ASSERT_EQ(all[i], i);
}

}  // namespace
}  // namespace saffron
