#include "coordinator/report/start_comparison.h"

#include <cmath>
#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace saffron {
namespace {

// A study of one architecture per `bits`, judged by valid and reporting test.
class StartComparisonTest : public testing::Test {
 protected:
  StartComparisonTest() {
    study_.metric = "valid/perplexity";
    study_.shown = "test/perplexity";
  }
  int Add(int64_t bits, const std::string& init, int64_t steps, double rate, double valid,
          double test, Summary shown = {}) {
    StudyVariant variant;
    variant.params = {
        {"model.type", std::string("saffu")}, {"model.bits", bits}, {"train.init", init}};
    if (init == "explicit") variant.params["solve.alpha"] = 1000.0;
    variant.params["train.steps"] = steps;
    if (steps > 0) variant.params["train.lr"] = rate;
    variant.metrics["valid/perplexity"] = {.n = 1, .mean = valid, .sd = 0};
    variant.metrics["test/perplexity"] =
        shown.n > 0 ? shown : Summary{.n = 1, .mean = test, .sd = 0};
    study_.variants.push_back(variant);
    return static_cast<int>(study_.variants.size()) - 1;
  }
  Study study_;
};

TEST_F(StartComparisonTest, PairsDifferInTheStartAlone) {
  const int e = Add(64, "explicit", 100, 0.01, 10, 11);
  Add(64, "random", 100, 0.03, 12, 12);  // another rate
  Add(64, "random", 200, 0.01, 12, 12);  // other steps
  Add(32, "random", 100, 0.01, 12, 12);  // another model
  const int r = Add(64, "random", 100, 0.01, 12, 13);
  const auto pairs = PairStarts(study_, RateRule::kEqual);
  ASSERT_EQ(pairs.size(), 1);
  EXPECT_EQ(pairs[0].explicit_variant, e);
  EXPECT_EQ(pairs[0].random_variant, r);
  EXPECT_EQ(pairs[0].steps, 100);
}

TEST_F(StartComparisonTest, TheBestRateIsChosenOnTheMetricNotOnWhatIsShown) {
  Add(64, "explicit", 100, 0.001, 20, 30);
  const int e = Add(64, "explicit", 100, 0.01, 10, 50);
  const int r = Add(64, "random", 100, 0.03, 15, 60);
  Add(64, "random", 100, 0.01, 16, 1);
  const auto pairs = PairStarts(study_, RateRule::kBest);
  ASSERT_EQ(pairs.size(), 1);
  EXPECT_EQ(pairs[0].explicit_variant, e);
  EXPECT_EQ(pairs[0].random_variant, r);
  EXPECT_EQ(pairs[0].explicit_rates, 2);
  EXPECT_EQ(pairs[0].random_rates, 2);
}

TEST_F(StartComparisonTest, TheExplicitSideIsNotChosenFromMoreTries) {
  const int typical = Add(64, "explicit", 100, 0.01, 10, 11);
  const int lucky = Add(64, "explicit", 100, 0.01, 5, 5);
  study_.variants[lucky].params["solve.alpha"] = 300.0;
  Add(32, "explicit", 100, 0.01, 10, 11);
  Add(64, "random", 100, 0.01, 12, 13);
  for (const RateRule rule : {RateRule::kEqual, RateRule::kBest}) {
    const auto pairs = PairStarts(study_, rule);
    ASSERT_EQ(pairs.size(), 1);
    EXPECT_EQ(pairs[0].explicit_variant, typical);
  }
}

TEST_F(StartComparisonTest, WhatHasNoValueOrNoStepsIsLeftOut) {
  Add(64, "explicit", 0, 0, 10, 11);
  Add(64, "random", 0, 0, 10, 11);
  Add(32, "explicit", 100, 0.01, 10, 11);
  study_.variants[Add(32, "random", 100, 0.01, 10, 11)].metrics.erase("test/perplexity");
  EXPECT_TRUE(PairStarts(study_, RateRule::kEqual).empty());
  EXPECT_TRUE(PairStarts(study_, RateRule::kBest).empty());
}

TEST_F(StartComparisonTest, TheTallyCountsWinsRatiosAndNoise) {
  std::vector<StartPair> pairs;
  const auto pair = [&](Summary e, Summary r) {
    pairs.push_back({.explicit_variant = Add(64, "explicit", 100, 0.01, 1, 1, e),
                     .random_variant = Add(64, "random", 100, 0.01, 1, 1, r)});
  };
  pair({.n = 1, .mean = 90, .sd = 0}, {.n = 4, .mean = 100, .sd = 2});    // clear
  pair({.n = 4, .mean = 99.5, .sd = 2}, {.n = 4, .mean = 100, .sd = 2});  // noise
  pair({.n = 4, .mean = 100, .sd = 1}, {.n = 4, .mean = 100, .sd = 1});   // a tie
  const StartTally tally = Tally(study_, pairs);
  EXPECT_EQ(tally.pairs, 3);
  EXPECT_EQ(tally.explicit_wins, 2);
  EXPECT_EQ(tally.random_wins, 0);
  EXPECT_EQ(tally.within_noise, 2);
  EXPECT_DOUBLE_EQ(tally.median_ratio, 0.995);
  EXPECT_DOUBLE_EQ(tally.p, 0.5);
}

TEST_F(StartComparisonTest, FewSeedsAskForALargerLead) {
  const auto lead = [&](int seeds) {
    const StartPair pair = {
        .explicit_variant =
            Add(64, "explicit", 100, 0.01, 1, 1, {.n = seeds, .mean = 97.5, .sd = 1.0}),
        .random_variant =
            Add(64, "random", 100, 0.01, 1, 1,
                {.n = seeds, .mean = 97.5 + 2.5 * std::sqrt(2.0 / seeds), .sd = 1.0})};
    return Tally(study_, {pair});
  };
  // Two and a half standard errors of the difference.
  EXPECT_EQ(lead(3).within_noise, 1);
  EXPECT_EQ(lead(30).within_noise, 0);
}

TEST_F(StartComparisonTest, WithoutReplicatesNoiseIsUnknown) {
  Add(64, "explicit", 100, 0.01, 10, 11);
  Add(64, "random", 100, 0.01, 12, 13);
  EXPECT_EQ(Tally(study_, PairStarts(study_, RateRule::kEqual)).within_noise, -1);
}

TEST_F(StartComparisonTest, HigherIsBetterWhenTheRoadmapMaximizes) {
  Add(64, "explicit", 100, 0.01, 10, 11);
  Add(64, "random", 100, 0.01, 12, 13);
  study_.minimize = false;
  EXPECT_EQ(Tally(study_, PairStarts(study_, RateRule::kEqual)).random_wins, 1);
}

TEST_F(StartComparisonTest, CatchingUpTakesTheFewestStepsThatReachTheSolution) {
  const int solved = Add(64, "explicit", 0, 0, 0, 100);
  Add(64, "random", 100, 0.01, 0, 150);
  Add(64, "random", 1000, 0.01, 0, 90);
  const int first = Add(64, "random", 300, 0.03, 0, 99);
  Add(64, "random", 300, 0.01, 0, 120);
  const auto found = FindCatchUps(study_);
  ASSERT_EQ(found.size(), 1);
  EXPECT_EQ(found[0].explicit_variant, solved);
  EXPECT_EQ(found[0].random_variant, first);
  EXPECT_EQ(found[0].steps_tried, 1000);
  EXPECT_EQ(found[0].candidates, 4);
}

TEST_F(StartComparisonTest, WhatIsNeverCaughtUpSaysSo) {
  Add(64, "explicit", 0, 0, 0, 100);
  Add(64, "random", 100, 0.01, 5, 150);
  const int best = Add(64, "random", 200, 0.01, 4, 120);
  const auto found = FindCatchUps(study_);
  ASSERT_EQ(found.size(), 1);
  EXPECT_EQ(found[0].random_variant, -1);
  EXPECT_EQ(found[0].best_random, best);
}

}  // namespace
}  // namespace saffron
