#include "coordinator/report/statistics.h"

#include <cmath>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace saffron {
namespace {

using testing::ElementsAre;

TEST(StatisticsTest, MedianOfEvenlyManyIsTheMeanOfTheMiddleTwo) {
  EXPECT_DOUBLE_EQ(Median({3, 1, 10, 2}), 2.5);
  EXPECT_DOUBLE_EQ(Median({3, 1, 10}), 3);
  EXPECT_TRUE(std::isnan(Median({})));
}

TEST(StatisticsTest, SignTestIsTheExactBinomialTail) {
  // 2 (C(10,0) + C(10,1)) / 2^10.
  EXPECT_NEAR(SignTest(9, 1), 22.0 / 1024, 1e-14);
  EXPECT_NEAR(SignTest(1, 9), 22.0 / 1024, 1e-14);
  EXPECT_NEAR(SignTest(12, 0), 2.0 / 4096, 1e-14);
}

TEST(StatisticsTest, SignTestOfAnEvenSplitOrOfNothingIsOne) {
  EXPECT_EQ(SignTest(5, 5), 1);
  EXPECT_EQ(SignTest(0, 0), 1);
}

TEST(StatisticsTest, SignTestOfManyPairsStaysAProbability) {
  EXPECT_GT(SignTest(5000, 5100), 0.3);
  EXPECT_LT(SignTest(5000, 5100), 0.34);
}

TEST(StatisticsTest, RankCorrelationSeesOrderOnly) {
  EXPECT_DOUBLE_EQ(RankCorrelation({1, 2, 3, 4}, {1, 10, 100, 1e6}), 1);
  EXPECT_DOUBLE_EQ(RankCorrelation({1, 2, 3, 4}, {4, 3, 2, 1}), -1);
}

TEST(StatisticsTest, RankCorrelationGivesTiesTheirMeanRank) {
  // Ranks 1, 2.5, 2.5, 4 against 1, 2, 3, 4: sums 4.5 / sqrt(4.5 * 5).
  EXPECT_NEAR(RankCorrelation({1, 2, 2, 3}, {1, 2, 3, 4}), 4.5 / std::sqrt(4.5 * 5), 1e-15);
}

TEST(StatisticsTest, RankCorrelationOfAConstantIsUndefined) {
  EXPECT_TRUE(std::isnan(RankCorrelation({1, 1, 1}, {1, 2, 3})));
  EXPECT_TRUE(std::isnan(RankCorrelation({1, 2}, {1, 2})));
}

TEST(StatisticsTest, ParetoFrontHoldsWhatNothingSmallerBeats) {
  const std::vector<Point> points = {{10, 5}, {5, 7}, {20, 5}, {30, 4}, {7, 8}, {5, 9}};
  EXPECT_THAT(ParetoFront(points), ElementsAre(1, 0, 3));
}

TEST(StatisticsTest, ParetoFrontCountsEqualPointsOnce) {
  EXPECT_THAT(ParetoFront({{1, 1}, {1, 1}, {2, 1}}), ElementsAre(0));
}

TEST(StatisticsTest, SummaryOfOneValueHasNoSpread) {
  EXPECT_TRUE(std::isnan(Summarize({3}).sd));
  EXPECT_DOUBLE_EQ(Summarize({1, 3}).sd, std::sqrt(2.0));
  EXPECT_EQ(Summarize({1, 3}).mean, 2);
}

}  // namespace
}  // namespace saffron
