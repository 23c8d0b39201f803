#include "core/solve/onehot_softmax.h"

#include <gtest/gtest.h>

#include <cmath>
#include <map>

#include "core/solve/holdout.h"
#include "core/solve/unigram.h"
#include "tests/unit/core_solve/text.h"

namespace saffron {
namespace {

constexpr int kVocab = 50;

// log p + sum_k lambda_k log(P_k / p), from counts by maps, over every target.
std::vector<double> NaiveNats(const TextDataset& data, const std::vector<double>& gains,
                              const std::vector<int32_t>& stream, int first, double d) {
  const auto before = [&](const std::vector<int32_t>& s, int64_t t, size_t lag) {
    return t >= static_cast<int64_t>(lag) ? s[t - lag] : data.eod;
  };
  const UnigramModel prior = UnigramModel::Fit(data.train, kVocab);
  std::vector<double> nats;
  std::vector<std::map<int, std::map<int, double>>> f(gains.size());
  for (size_t t = 0; t < data.train.size(); ++t) {
    for (size_t k = 0; k < gains.size(); ++k) {
      f[k][before(data.train, t, k + 1)][data.train[t]] += 1;
    }
  }
  for (size_t t = first; t < stream.size(); ++t) {
    double total = 0, target = 0;
    for (int i = 0; i < kVocab; ++i) {
      double z = prior.log_p[i];
      for (size_t k = 0; k < gains.size(); ++k) {
        const auto& row = f[k][before(stream, t, k + 1)];
        if (row.empty()) continue;  // a token that never came: no evidence
        double sum = 0;
        for (const auto& [token, n] : row) sum += n;
        const double n = row.count(i) ? row.at(i) : 0, p = std::exp(prior.log_p[i]);
        const double types = static_cast<double>(row.size());
        z += gains[k] * std::log((std::max(n - d, 0.0) + d * types * p) / sum / p);
      }
      total += std::exp(z);
      if (i == stream[t]) target = z;
    }
    nats.push_back(std::log(total) - target);
  }
  return nats;
}

TEST(OneHotSoftmax, IsTheSmoothedFormula) {
  const TextDataset data = MadeUpText(kVocab, 3000);
  for (GainMode mode : {GainMode::kKnorm, GainMode::kGeometric, GainMode::kCalibrated}) {
    StatisticsCache cache({});
    const auto model = OneHotModel::Solve({.context = 3, .gains = mode}, data, cache);
    ASSERT_TRUE(model.ok()) << model.status();
    const auto got = model->Nats(data.test, 80);
    const auto want = NaiveNats(data, model->gains(), data.test, 80, 0.75);
    ASSERT_EQ(got.size(), want.size());
    for (size_t i = 0; i < got.size(); ++i) EXPECT_NEAR(got[i], want[i], 2e-5);
  }
}

TEST(OneHotSoftmax, OneKeyIsAbsoluteDiscountingExactly) {
  const TextDataset data = MadeUpText(kVocab, 2000);
  StatisticsCache cache({});
  const auto model = OneHotModel::Solve({.context = 1, .gains = GainMode::kKnorm}, data, cache);
  ASSERT_TRUE(model.ok());
  // P(i|j) sums to one over i: the mass of all tokens after one context.
  double sum = 0;
  for (int i = 0; i < kVocab; ++i) {
    sum += std::exp(-model->Nats({7, i}, 1)[0]);
  }
  EXPECT_NEAR(sum, 1, 1e-5);
}

TEST(OneHotSoftmax, CalibratedGainsBeatTheFixedOnesOnTheHoldout) {
  const TextDataset data = MadeUpText(kVocab, 6000);
  StatisticsCache cache({});
  const auto nats = [&](GainMode mode) {
    return OneHotModel::Solve({.context = 4, .gains = mode}, data, cache)->holdout_nats();
  };
  const double best = nats(GainMode::kCalibrated);
  EXPECT_LT(best, nats(GainMode::kKnorm));
  EXPECT_LT(best, nats(GainMode::kGeometric));
}

TEST(OneHotSoftmax, ZeroGainsLeaveThePrior) {
  const TextDataset data = MadeUpText(kVocab, 2000);
  StatisticsCache cache({});
  auto model = OneHotModel::Solve({.context = 2, .gains = GainMode::kKnorm}, data, cache);
  ASSERT_TRUE(model.ok());
  model->set_gains({0, 0});
  const auto want = UnigramModel::Fit(data.train, kVocab).Nats(data.test, 0);
  const auto got = model->Nats(data.test, 0);
  for (size_t i = 0; i < got.size(); ++i) EXPECT_NEAR(got[i], want[i], 1e-5);
}

TEST(OneHotSoftmax, CountsItsParameters) {
  const TextDataset data = MadeUpText(kVocab, 2000);
  StatisticsCache cache({});
  const auto model = OneHotModel::Solve({.context = 2}, data, cache);
  ASSERT_TRUE(model.ok());
  EXPECT_EQ(model->parameters(), static_cast<int64_t>(model->tables()[0]->value.size() +
                                                      model->tables()[1]->value.size()) +
                                     kVocab + 2);
  EXPECT_FALSE(OneHotModel::Solve({.context = 0}, data, cache).ok());
}

}  // namespace
}  // namespace saffron
