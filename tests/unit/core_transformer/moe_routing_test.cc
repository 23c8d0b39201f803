// Who is chosen, who is taken, who is dropped.

#include "core/transformer/moe_routing.h"

#include <cmath>
#include <vector>

#include "core/base/random.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace saffron {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

std::vector<int> Experts(const std::vector<MoeChoice>& choices) {
  std::vector<int> experts;
  for (const MoeChoice& choice : choices) experts.push_back(choice.expert);
  return experts;
}

std::vector<int> Slots(const std::vector<MoeChoice>& choices) {
  std::vector<int> slots;
  for (const MoeChoice& choice : choices) slots.push_back(choice.slot);
  return slots;
}

struct Chosen {
  std::vector<double> p;
  std::vector<MoeChoice> choices;
  double logsumexp;
};
Chosen Choose(const MoeShape& moe, const std::vector<double>& logits) {
  Chosen chosen{std::vector<double>(moe.experts), std::vector<MoeChoice>(moe.top), 0};
  chosen.logsumexp = ChooseExperts(moe, logits.data(), chosen.p.data(), chosen.choices.data());
  return chosen;
}

// Takes slots for tokens whose choices are given as experts, `top` a token, all with gate 1 / top.
std::vector<int> Take(const MoeShape& moe, int64_t capacity, const std::vector<int>& experts,
                      const std::vector<double>& uniforms = {},
                      const std::vector<double>& first = {}) {
  std::vector<MoeChoice> choices;
  for (const int expert : experts) choices.push_back({1.0 / moe.top, expert, 0});
  const int64_t n = static_cast<int64_t>(experts.size()) / moe.top;
  std::vector<int32_t> counts(moe.experts), order(n);
  std::vector<double> draws = uniforms;
  draws.resize(experts.size());
  TakeSlots(moe, n, capacity, draws.data(), {counts.data(), order.data(), first.data()},
            choices.data());
  return Slots(choices);
}

constexpr int kOut = MoeChoice::kDropped, kNot = MoeChoice::kNotTaken;

TEST(ChooseExpertsTest, GatesAreTheSoftmaxOfTheChosenLogits) {
  const Chosen chosen = Choose({.experts = 4, .top = 3}, {0.5, 2, -1, 1});
  EXPECT_THAT(Experts(chosen.choices), ElementsAre(1, 3, 0));
  const double sum = std::exp(2) + std::exp(1) + std::exp(0.5);
  EXPECT_NEAR(chosen.choices[0].gate, std::exp(2) / sum, 1e-15);
  EXPECT_NEAR(chosen.choices[2].gate, std::exp(0.5) / sum, 1e-15);
  EXPECT_NEAR(chosen.logsumexp, std::log(sum + std::exp(-1)), 1e-15);
}

TEST(ChooseExpertsTest, OverAllExpertsTheGateIsTheProbability) {
  const Chosen chosen = Choose({.experts = 3, .top = 1, .gates = MoeGates::kAll}, {0, 1, 0});
  EXPECT_EQ(chosen.choices[0].expert, 1);
  EXPECT_EQ(chosen.choices[0].gate, chosen.p[1]);
  EXPECT_NEAR(chosen.p[1], std::exp(1) / (2 + std::exp(1)), 1e-15);
}

TEST(ChooseExpertsTest, OfEqualLogitsTheLowestIndexGoesFirst) {
  EXPECT_THAT(Experts(Choose({.experts = 4, .top = 3}, {1, 1, 1, 1}).choices),
              ElementsAre(0, 1, 2));
}

TEST(ChooseExpertsTest, HugeLogitsAndLogitsThatAreNoNumbersStillNameDifferentExperts) {
  const Chosen huge = Choose({.experts = 3, .top = 2}, {-1e4, 1e4, -2e4});
  EXPECT_THAT(Experts(huge.choices), ElementsAre(1, 0));
  EXPECT_EQ(huge.choices[0].gate, 1);
  EXPECT_EQ(huge.choices[1].gate, 0);
  EXPECT_EQ(huge.logsumexp, 1e4);
  const double nan = std::nan("");
  const std::vector<int> experts =
      Experts(Choose({.experts = 3, .top = 3}, {nan, nan, nan}).choices);
  EXPECT_THAT(experts, testing::UnorderedElementsAre(0, 1, 2));
}

TEST(CapacityTest, IsTheShareRoundedDownBetweenFourAndAll) {
  EXPECT_EQ(ExpertCapacity(24, 4, 1.25), 7);
  EXPECT_EQ(ExpertCapacity(64, 8, 2.0), 16);
  EXPECT_EQ(ExpertCapacity(16, 8, 1.0), 4);     // two, but at least four
  EXPECT_EQ(ExpertCapacity(64, 8, 1e300), 64);  // everybody
  EXPECT_EQ(ExpertCapacity(2, 8, 100), 4);      // more slots than tokens do no harm
}

TEST(SlotsTest, TokenMajorServesTokenByToken) {
  const MoeShape moe{.experts = 2, .top = 2, .second = SecondPolicy::kAll};
  EXPECT_THAT(Take(moe, 2, {0, 1, 0, 1, 1, 0, 1, 0}),
              ElementsAre(0, 0, 1, 1, kOut, kOut, kOut, kOut));
}

TEST(SlotsTest, ChoiceMajorServesAllFirstChoicesBeforeSecondOnes) {
  const MoeShape moe{
      .experts = 2, .top = 2, .second = SecondPolicy::kAll, .slots = SlotOrder::kChoiceMajor};
  EXPECT_THAT(Take(moe, 2, {0, 1, 0, 1, 1, 0, 1, 0}),
              ElementsAre(0, kOut, 1, kOut, 0, kOut, 1, kOut));
  // After the kept first choices, not after all of them.
  EXPECT_THAT(Take(moe, 3, {0, 1, 0, 1, 0, 1, 0, 1}), ElementsAre(0, 0, 1, 1, 2, 2, kOut, kOut));
}

TEST(SlotsTest, PriorityServesTheLikeliestTokenFirst) {
  const MoeShape moe{
      .experts = 2, .top = 1, .second = SecondPolicy::kAll, .slots = SlotOrder::kPriority};
  EXPECT_THAT(Take(moe, 2, {0, 0, 0, 1}, {}, {0.5, 0.6, 0.9, 0.5}), ElementsAre(kOut, 1, 0, 0));
  EXPECT_THAT(Take(moe, 2, {0, 0, 0, 1}, {}, {0.5, 0.5, 0.5, 0.5}), ElementsAre(0, 1, kOut, 0));
}

TEST(SlotsTest, PoliciesDecideAboutSecondChoicesAlone) {
  const std::vector<int> experts = {0, 1, 0, 1};
  MoeShape moe{.experts = 2, .top = 2, .second = SecondPolicy::kNone, .threshold = 0.8};
  EXPECT_THAT(Take(moe, 4, experts), ElementsAre(0, kNot, 1, kNot));
  moe.second = SecondPolicy::kThreshold;
  EXPECT_THAT(Take(moe, 4, experts), ElementsAre(0, kNot, 1, kNot));
  moe.threshold = 0.4;
  EXPECT_THAT(Take(moe, 4, experts), ElementsAre(0, 0, 1, 1));
  moe.second = SecondPolicy::kRandom;
  moe.threshold = 0.8;  // gate 0.5: taken where the draw lies below 0.625
  EXPECT_THAT(Take(moe, 4, experts, {0.99, 0.62, 0.99, 0.63}), ElementsAre(0, 0, 1, kNot));
}

TEST(SlotsTest, ATokenThatIsNotTakenLeavesItsSlotToOthers) {
  const MoeShape moe{.experts = 2, .top = 2, .second = SecondPolicy::kRandom, .threshold = 1};
  EXPECT_THAT(Take(moe, 1, {0, 1, 0, 1}, {0, 0.9, 0, 0.1}), ElementsAre(0, kNot, kOut, 0));
}

TEST(CheckMoeTest, SaysWhatCannotBe) {
  const auto message = [](const MoeShape& moe, bool causal = true) {
    return std::string(CheckMoe("layers.3.", moe, 16, causal).message());
  };
  EXPECT_EQ(message({}), "");
  EXPECT_EQ(message({.experts = 8}), "");
  EXPECT_EQ(message({.experts = 1}), "layers.3.experts: want 0 or at least 2, got 1");
  EXPECT_THAT(message({.experts = 2, .top = 3}), HasSubstr("layers.3.top: want 1 to 2"));
  EXPECT_THAT(message({.experts = 8, .capacity_factor = 0.4}),
              HasSubstr("layers.3.capacity_factor: want at least one token an expert: 0.4 of 16 "
                        "tokens over 8 experts is 0.8"));
  EXPECT_THAT(message({.experts = 8, .eval_capacity_factor = std::nan("")}),
              HasSubstr("layers.3.eval_capacity_factor: want a number above 0"));
  EXPECT_THAT(message({.experts = 8, .threshold = 0}), HasSubstr("layers.3.threshold"));
  EXPECT_THAT(message({.experts = 8, .slots = SlotOrder::kPriority}),
              HasSubstr("tokens that a decoder has not seen"));
  EXPECT_EQ(message({.experts = 8, .slots = SlotOrder::kPriority}, /*causal=*/false), "");
}

}  // namespace
}  // namespace saffron
