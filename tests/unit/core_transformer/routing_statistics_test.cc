#include "core/transformer/routing_statistics.h"

#include <cmath>
#include <vector>

#include "core/base/random.h"
#include "gtest/gtest.h"

namespace saffron {
namespace {

TEST(MutualInformationTest, IsTheEntropyOfWhatIsFullyKnownAndZeroOfWhatIsIndependent) {
  const std::vector<int32_t> token = {0, 1, 5, 0, 1, 5, 0, 1, 5, 0, 1, 5};
  const std::vector<int32_t> same = {2, 0, 1, 2, 0, 1, 2, 0, 1, 2, 0, 1};
  EXPECT_NEAR(MutualInformation(token, same, 3), std::log(3), 1e-15);
  const std::vector<int32_t> apart = {0, 0, 0, 1, 1, 1, 0, 0, 0, 1, 1, 1};
  EXPECT_NEAR(MutualInformation(token, apart, 2), 0, 1e-15);
  EXPECT_EQ(MutualInformation({}, {}, 2), 0);
}

TEST(MutualInformationTest, IsTheMeanOfTheDivergencesOfItsValues) {
  const std::vector<int32_t> token = {0, 1, 5, 0, 1, 5, 0, 2, 5, 0, 1, 3};
  const std::vector<int32_t> expert = {2, 0, 1, 2, 0, 1, 2, 0, 0, 1, 0, 1};
  const std::vector<double> parts = Divergences(token, expert, 4);
  ASSERT_EQ(parts.size(), 4u);
  EXPECT_NEAR((5 * parts[0] + 4 * parts[1] + 3 * parts[2]) / 12,
              MutualInformation(token, expert, 4), 1e-14);
  EXPECT_NEAR(parts[2], std::log(3), 1e-14);  // its tokens are all 0, as a third of all are
  EXPECT_EQ(parts[3], 0);
}

// Four tokens, two choices each of three experts.
TEST(LayerRoutingTest, CountsLoadDropsAndTokensThatNobodyTook) {
  constexpr int kOut = MoeChoice::kDropped, kNot = MoeChoice::kNotTaken;
  const std::vector<MoeChoice> choices = {{0.6, 0, 0},    {0.4, 1, 0},   {0.6, 0, 1},
                                          {0.4, 1, kNot}, {0.6, 0, 2},   {0.4, 2, kOut},
                                          {0.6, 0, kOut}, {0.4, 1, kNot}};
  std::vector<double> p = {1, 0, 0, 1, 0, 0, 1, 0, 0, 0.5, 0.5, 0}, l = {1, 2, 3, 4};
  const MoeRoutingView view{3, 2, 4, 4, choices.data(), {p.data(), 3}, l.data()};
  LayerRouting routing;
  routing.Add(view, {7, 7, 8, 9});
  const RoutingSummary summary = routing.Summary();
  EXPECT_DOUBLE_EQ(summary.largest_load, 3 * 4.0 / 6);
  EXPECT_DOUBLE_EQ(summary.drop_rate, 2.0 / 6);
  EXPECT_DOUBLE_EQ(summary.unserved, 1.0 / 4);
  EXPECT_DOUBLE_EQ(summary.entropy, std::log(2) / 4);
  EXPECT_DOUBLE_EQ(summary.z, 30.0 / 4);
  EXPECT_EQ(summary.information, 0);  // all first choices are the same

  const std::vector<ExpertSummary> experts = routing.Experts();
  ASSERT_EQ(experts.size(), 3u);
  EXPECT_EQ(experts[0].chosen, 4);
  EXPECT_EQ(experts[0].dropped, 1);
  EXPECT_EQ(experts[0].first, 4);
  EXPECT_DOUBLE_EQ(experts[0].drop_rate, 1.0 / 4);
  EXPECT_DOUBLE_EQ(experts[0].probability, 3.5 / 4);
  EXPECT_DOUBLE_EQ(experts[0].entropy, std::log(2) / 4);
  EXPECT_DOUBLE_EQ(experts[1].load, 3 * 1.0 / 6);
  EXPECT_EQ(experts[2].dropped, 1);
  EXPECT_EQ(experts[2].entropy, 0);
}

TEST(LayerRoutingTest, TracesTheChoicesThatWereTakenUpToABound) {
  constexpr int kNot = MoeChoice::kNotTaken, kOut = MoeChoice::kDropped;
  const std::vector<MoeChoice> choices = {{0.6, 2, 0}, {0.4, 1, kOut}, {0.7, 0, 0}, {0.3, 1, kNot},
                                          {0.5, 1, 0}, {0.5, 0, 1},    {0.9, 2, 1}, {0.1, 0, kNot}};
  std::vector<double> p(12, 1.0 / 3), l(4);
  const MoeRoutingView view{3, 2, 4, 2, choices.data(), {p.data(), 3}, l.data()};
  LayerRouting routing;
  routing.Add(view, {7, 8, 9, 10});
  ASSERT_EQ(routing.trace().size(), 6u);
  const RoutedChoice& dropped = routing.trace()[1];
  EXPECT_EQ(dropped.token, 7);
  EXPECT_EQ(dropped.choice, 1);
  EXPECT_EQ(dropped.expert, 1);
  EXPECT_EQ(dropped.gate, 0.4);
  EXPECT_FALSE(dropped.kept);
  const RoutedChoice& last = routing.trace()[5];
  EXPECT_EQ(last.row, 3);
  EXPECT_EQ(last.position, 1);  // sequences of two
  EXPECT_EQ(last.token, 10);
  EXPECT_TRUE(last.kept);
  for (int64_t i = 4; i < LayerRouting::kTraceTokens + 8; i += 4) routing.Add(view, {7, 8, 9, 10});
  EXPECT_EQ(static_cast<int64_t>(routing.trace().size()), LayerRouting::kTraceTokens / 4 * 6);
  EXPECT_EQ(routing.rows(), LayerRouting::kTraceTokens + 8);
}

TEST(LayerRoutingTest, ShufflingTakesAwayWhatExpertsKnowAboutTokens) {
  const CounterRandom random(1, RandomPurpose::kTest);
  const int64_t n = 4000;
  std::vector<MoeChoice> choices;
  std::vector<int32_t> tokens;
  for (int64_t i = 0; i < n; ++i) {
    tokens.push_back(static_cast<int32_t>(random.Below(i, 40)));
    choices.push_back({1, tokens.back() % 4, 0});
  }
  std::vector<double> p(4 * n, 0.25), l(n);
  LayerRouting routing;
  routing.Add({4, 1, n, n, choices.data(), {p.data(), 4}, l.data()}, tokens);
  EXPECT_NEAR(routing.Summary().information, std::log(4), 0.01);
  // 39 * 3 degrees of freedom give 117 / 8000 of themselves.
  EXPECT_NEAR(routing.Summary().information_shuffled, 117.0 / 8000, 0.008);
}

}  // namespace
}  // namespace saffron
