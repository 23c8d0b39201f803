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

// Where the distribution has a closed form: Cauchy for one degree of freedom, t / sqrt(2 + t^2) for
// two, and so on (Abramowitz & Stegun 26.7.3 and 26.7.4).
TEST(StatisticsTest, StudentsTailIsTheClosedFormOfItsDegrees) {
  for (const double t : {0.0, 0.1, 1.0, 2.0, 4.302652729911275, 40.0}) {
    EXPECT_NEAR(StudentTwoSided(t, 1), 1 - 2 / M_PI * std::atan(t), 1e-13);
    EXPECT_NEAR(StudentTwoSided(-t, 2), 1 - t / std::sqrt(2 + t * t), 1e-13);
    const double c = 3 / (3 + t * t), c4 = 4 / (4 + t * t);
    EXPECT_NEAR(StudentTwoSided(t, 3),
                1 - 2 / M_PI * (std::atan(t / std::sqrt(3.0)) + t / std::sqrt(3.0) * c), 1e-13);
    EXPECT_NEAR(StudentTwoSided(t, 4), 1 - t / std::sqrt(4 + t * t) * (1 + c4 / 2), 1e-13);
  }
  // Many degrees: the normal distribution.
  EXPECT_NEAR(StudentTwoSided(1.959963984540054, 1e7), 0.05, 1e-6);
}

TEST(StatisticsTest, WelchComparesMeansOfUnequalSpread) {
  // {1, 2, 3} and {4, 6, 8, 10}: variances 1/3 + 20/12, t = -5 / sqrt(2),
  // degrees 4 / (1/18 + 25/27).
  const Summary a = Summarize({1, 2, 3}), b = Summarize({4, 6, 8, 10});
  const double freedom = 4 / (1.0 / 18 + 25.0 / 27);
  EXPECT_NEAR(WelchTest(a, b), StudentTwoSided(5 / std::sqrt(2.0), freedom), 1e-15);
  EXPECT_EQ(WelchTest(a, b), WelchTest(b, a));
  EXPECT_EQ(WelchTest(a, a), 1);
}

TEST(StatisticsTest, WelchLendsALoneValueTheSpreadOfTheOthers) {
  const Summary many = Summarize({1, 2, 3, 4});
  const double t = (10 - 2.5) / std::sqrt(5.0 / 3 * 1.25);
  EXPECT_NEAR(WelchTest(Summarize({10}), many), StudentTwoSided(t, 3), 1e-15);
  EXPECT_TRUE(std::isnan(WelchTest(Summarize({10}), Summarize({11}))));
}

TEST(StatisticsTest, WithoutSpreadAnyDifferenceIsCertain) {
  EXPECT_EQ(WelchTest(Summarize({1, 1}), Summarize({2, 2})), 0);
  EXPECT_EQ(WelchTest(Summarize({1, 1}), Summarize({1, 1})), 1);
}

TEST(StudentTest, QuantilesAreThoseOfTheTables) {
  EXPECT_NEAR(StudentQuantile(0.05, 1), 12.706, 1e-3);
  EXPECT_NEAR(StudentQuantile(0.05, 2), 4.3027, 1e-4);
  EXPECT_NEAR(StudentQuantile(0.01, 30), 2.7500, 1e-4);
}

TEST(StudentTest, AnIntervalNeedsTwoValues) {
  const Interval interval = MeanInterval(Summarize({1, 2, 3}));
  EXPECT_NEAR(interval.low, 2 - 4.3027 / std::sqrt(3.0), 1e-4);
  EXPECT_NEAR(interval.high, 2 + 4.3027 / std::sqrt(3.0), 1e-4);
  EXPECT_TRUE(std::isnan(MeanInterval(Summarize({1})).low));
}

}  // namespace
}  // namespace saffron
