#include "coordinator/sweep/distribution.h"

#include <cmath>
#include <set>
#include <vector>

#include "gtest/gtest.h"

namespace saffron {
namespace {

constexpr int kDraws = 2000;

Distribution Make(v1::Parameter::Distribution kind, double min, double max, const char* key) {
  Distribution d;
  d.kind = kind;
  d.min = min;
  d.max = max;
  d.key = FindParam(key);
  return d;
}

double AsDouble(const ParamValue& value) {
  if (const auto* whole = std::get_if<int64_t>(&value)) return static_cast<double>(*whole);
  return std::get<double>(value);
}

std::vector<double> Draws(const Distribution& distribution) {
  const CounterRandom random(3, RandomPurpose::kSweep);
  std::vector<double> draws;
  for (int i = 0; i < kDraws; ++i) draws.push_back(AsDouble(distribution.Draw(random, i).value()));
  return draws;
}

double ShareBelow(const std::vector<double>& draws, double bound) {
  double below = 0;
  for (double draw : draws) below += draw < bound ? 1 : 0;
  return below / kDraws;
}

// Five standard deviations of a share of one half over 2,000 draws: 0.056.
constexpr double kTolerance = 0.056;

TEST(DistributionTest, UniformIsFlat) {
  const auto draws = Draws(Make(v1::Parameter::UNIFORM, 2, 10, "train.lr"));
  EXPECT_NEAR(ShareBelow(draws, 4), 0.25, kTolerance);
  EXPECT_NEAR(ShareBelow(draws, 6), 0.5, kTolerance);
  for (double draw : draws) EXPECT_TRUE(draw >= 2 && draw <= 10) << draw;
}

TEST(DistributionTest, LogarithmicOnesAreFlatInTheLogarithm) {
  for (auto kind : {v1::Parameter::LOG_UNIFORM_VALUES, v1::Parameter::INV_LOG_UNIFORM_VALUES}) {
    const auto draws = Draws(Make(kind, 1e-4, 1e-2, "train.lr"));
    EXPECT_NEAR(ShareBelow(draws, 1e-3), 0.5, kTolerance);
    EXPECT_NEAR(ShareBelow(draws, std::pow(10, -3.5)), 0.25, kTolerance);
  }
  const auto draws =
      Draws(Make(v1::Parameter::LOG_UNIFORM, std::log(1e-4), std::log(1e-2), "train.lr"));
  EXPECT_NEAR(ShareBelow(draws, 1e-3), 0.5, kTolerance);
}

TEST(DistributionTest, IntegersIncludeBothEnds) {
  const auto draws = Draws(Make(v1::Parameter::INT_UNIFORM, 3, 6, "train.steps"));
  EXPECT_EQ(std::set<double>(draws.begin(), draws.end()), (std::set<double>{3, 4, 5, 6}));
  EXPECT_NEAR(ShareBelow(draws, 5), 0.5, kTolerance);
}

TEST(DistributionTest, QuantizedDrawsAreMultiplesWithinTheRange) {
  Distribution d = Make(v1::Parameter::Q_UNIFORM, 1, 10, "train.lr");
  d.q = 4;
  const auto draws = Draws(d);
  // 0 and 12 are nearest to some draws, but outside.
  EXPECT_EQ(std::set<double>(draws.begin(), draws.end()), (std::set<double>{4, 8}));
  d.q = 0.1;
  d.max = 1.5;
  const auto fine = Draws(d);
  EXPECT_EQ(std::set<double>(fine.begin(), fine.end()),
            (std::set<double>{1.0, 1.1, 1.2, 1.3, 1.4, 1.5}))
      << "as they are written, not 1.1000000000000001";
}

TEST(DistributionTest, NormalDrawsOutsideTheKeysRangeAreDrawnAgain) {
  Distribution d = Make(v1::Parameter::NORMAL, 0, 0, "train.beta1");  // [0, 1)
  d.mu = 0.9;
  d.sigma = 0.2;
  const auto draws = Draws(d);
  for (double draw : draws) EXPECT_TRUE(draw >= 0 && draw < 1) << draw;
  // Of the part below 1: P(x < 0.9 | x < 1) = 0.5 / 0.691.
  EXPECT_NEAR(ShareBelow(draws, 0.9), 0.723, kTolerance);
  d.mu = -100;
  EXPECT_EQ(d.Draw(CounterRandom(3, RandomPurpose::kSweep), 0), std::nullopt);
}

TEST(DistributionTest, TheLogarithmOfALogNormalIsNormal) {
  Distribution d = Make(v1::Parameter::LOG_NORMAL, 0, 0, "train.lr");
  d.mu = std::log(0.01);
  d.sigma = 1;
  const auto draws = Draws(d);
  EXPECT_NEAR(ShareBelow(draws, 0.01), 0.5, kTolerance);
  EXPECT_NEAR(ShareBelow(draws, 0.01 * std::exp(1)), 0.841, kTolerance);
}

TEST(DistributionTest, IntegerKeysGetIntegersFromAnyOfThem) {
  const Distribution d = Make(v1::Parameter::LOG_UNIFORM_VALUES, 16, 512, "model.bits");
  const CounterRandom random(3, RandomPurpose::kSweep);
  for (int i = 0; i < 100; ++i) {
    EXPECT_TRUE(std::holds_alternative<int64_t>(d.Draw(random, i).value()));
  }
}

TEST(DistributionTest, DrawsHaveSixDigitsThatTellThemApart) {
  const CounterRandom random(3, RandomPurpose::kSweep);
  EXPECT_EQ(
      ParamValueText(*Make(v1::Parameter::UNIFORM, 0, 1, "solve.kappa").Draw(random, 1)).size(),
      std::string("0.123456").size());
  // Six digits of these would all be 1000.00.
  const auto narrow = Draws(Make(v1::Parameter::UNIFORM, 1000, 1000.001, "solve.kappa"));
  EXPECT_GT(std::set<double>(narrow.begin(), narrow.end()).size(), 1900u);
}

TEST(DistributionTest, ADrawDependsOnItsNumberAlone) {
  const Distribution d = Make(v1::Parameter::UNIFORM, 0, 1, "solve.kappa");
  const CounterRandom random(3, RandomPurpose::kSweep);
  const ParamValue seventh = *d.Draw(random, 7);
  for (int i = 0; i < 7; ++i) EXPECT_NE(*d.Draw(random, i), seventh);
  EXPECT_EQ(*d.Draw(random, 7), seventh);
}

TEST(DistributionTest, GridsAreEvenOnTheirOwnScale) {
  Distribution d = Make(v1::Parameter::UNIFORM, 0.1, 0.5, "solve.kappa");
  d.count = 5;
  std::vector<std::string> points;
  for (int64_t i = 0; i < d.GridSize(); ++i) points.push_back(ParamValueText(d.GridPoint(i)));
  EXPECT_EQ(points, (std::vector<std::string>{"0.1", "0.2", "0.3", "0.4", "0.5"}));
  d.count = 1;
  EXPECT_EQ(d.GridPoint(0), ParamValue(0.1));
  EXPECT_EQ(Make(v1::Parameter::UNIFORM, 0, 1, "solve.kappa").GridSize(), 0);
  EXPECT_EQ(Make(v1::Parameter::NORMAL, 0, 0, "solve.kappa").GridSize(), 0);
  EXPECT_EQ(Make(v1::Parameter::INT_UNIFORM, -3, 3, "solve.kappa").GridSize(), 7);
}

}  // namespace
}  // namespace saffron
