#include "core/log_linear/log_linear_model.h"

#include <gtest/gtest.h>

#include <cmath>

#include "core/log_linear/bounded_newton.h"
#include "core/log_linear/gain_objective.h"
#include "core/log_linear/history_mixture.h"
#include "tests/unit/core_log_linear/derivatives.h"
#include "tests/unit/core_log_linear/sample_text.h"

namespace saffron {
namespace {

LogLinearSpec Everything() {
  LogLinearSpec spec;
  spec.templates = *ParseTemplates("skip+pair");
  spec.histories = {HistoryKind::kAll, HistoryKind::kRecent, HistoryKind::kFollowers};
  spec.window = 20;
  spec.unigram = true;
  spec.seen_gains = true;
  return spec;
}

std::vector<int64_t> From(int64_t first, int64_t last) {
  std::vector<int64_t> targets;
  for (int64_t t = first; t < last; ++t) targets.push_back(t);
  return targets;
}

double Mean(const std::vector<double>& v) {
  double sum = 0;
  for (double x : v) sum += x;
  return sum / static_cast<double>(v.size());
}

TEST(LogLinearModel, HasTheGainsOfItsKeys) {
  EXPECT_EQ(LogLinearShape(Everything()).gains, 188);
  LogLinearSpec chain;
  EXPECT_EQ(LogLinearShape(chain).gains, 36);
  chain.gains_by_count = false;
  EXPECT_EQ(LogLinearShape(chain).gains, 4);
}

TEST(LogLinearModel, SeesNothingOfWhatFollows) {
  const TextDataset data = SampleText(60, 4000);
  StatisticsCache cache({});
  const auto model = LogLinearModel::Solve(Everything(), data, cache);
  ASSERT_TRUE(model.ok()) << model.status();
  std::vector<int32_t> other = data.test;
  for (size_t t = 300; t < other.size(); ++t) other[t] = (other[t] * 5 + 3) % 60;
  EXPECT_EQ(model->Nats(data.test, From(0, 300)), model->Nats(other, From(0, 300)));
  EXPECT_NE(model->Nats(data.test, From(300, 500)), model->Nats(other, From(300, 500)));
}

TEST(LogLinearModel, SaysWhatEachOfItsKeysWeighs) {
  const TextDataset data = SampleText(60, 4000);
  StatisticsCache cache({});
  const auto model = LogLinearModel::Solve(Everything(), data, cache);
  ASSERT_TRUE(model.ok()) << model.status();
  const auto mean = model->MeanGains();
  EXPECT_EQ(mean.at("unigram"), model->gains()[model->shape().unigram_gain]);
  EXPECT_NE(mean.at("1_seen"), 0);
  EXPECT_NE(mean.at("recent"), 0);
}

TEST(LogLinearModel, IsFittedOnceForAllWhoShareACache) {
  const TextDataset data = SampleText(60, 4000);
  const std::string dir = testing::TempDir() + "/fitted_once";
  StatisticsCache first({.dir = dir}), second({.dir = dir});
  LogLinearSpec spec = Everything();
  const auto fresh = LogLinearModel::Solve(spec, data, first);
  const auto found = LogLinearModel::Solve(spec, data, second);
  ASSERT_TRUE(fresh.ok() && found.ok());
  EXPECT_EQ(second.counters().misses, 0);
  EXPECT_EQ(found->gains(), fresh->gains());
  EXPECT_EQ(found->MeanGains(), fresh->MeanGains());
  EXPECT_EQ(found->fit().targets, fresh->fit().targets);
  EXPECT_EQ(found->fit().nats, fresh->fit().nats);
  EXPECT_EQ(found->Nats(data.test, From(0, 100)), fresh->Nats(data.test, From(0, 100)));
  // What was fitted otherwise is another fit.
  std::vector<LogLinearSpec> others(6, spec);
  others[0].gain_prior = 2;
  others[1].gain_min = -0.01;
  others[2].gain_max = 0.5;
  others[3].window = 10;
  others[4].discounts = Discounts::kSingle;
  others[5].templates.pop_back();
  for (const LogLinearSpec& other : others) {
    const auto model = LogLinearModel::Solve(other, data, second);
    ASSERT_TRUE(model.ok()) << model.status();
    EXPECT_NE(model->gains(), fresh->gains());
  }
}

TEST(LogLinearModel, ForgetsAtTheEndOfADocument) {
  const TextDataset data = SampleText(60, 4000);
  StatisticsCache cache({});
  LogLinearSpec spec = Everything();
  spec.order = 1;
  spec.templates.clear();
  const auto model = LogLinearModel::Solve(spec, data, cache);
  ASSERT_TRUE(model.ok()) << model.status();
  // Only histories are left, so what stood before <eod> cannot matter.
  const std::vector<int32_t> a = {5, 6, 7, 5, 6, 1, 9, 9, 5}, b = {8, 8, 3, 2, 4, 1, 9, 9, 5};
  EXPECT_EQ(model->Nats(a, From(6, 9)), model->Nats(b, From(6, 9)));
  const std::vector<int32_t> c = {8, 8, 3, 2, 4, 2, 9, 9, 5};
  EXPECT_NE(model->Nats(a, From(6, 9)), model->Nats(c, From(6, 9)));
}

TEST(LogLinearModel, ProbabilitiesSumToOne) {
  const TextDataset data = SampleText(40, 3000);
  StatisticsCache cache({});
  const auto model = LogLinearModel::Solve(Everything(), data, cache);
  ASSERT_TRUE(model.ok()) << model.status();
  std::vector<int32_t> stream(data.test.begin(), data.test.begin() + 100);
  double sum = 0;
  for (int32_t i = 0; i < 40; ++i) {
    stream.back() = i;
    sum += std::exp(-model->Nats(stream, From(99, 100))[0]);
  }
  EXPECT_NEAR(sum, 1, 1e-5);
}

TEST(LogLinearModel, FitsBetterThanItsPriorAndTheSameEveryTime) {
  const TextDataset data = SampleText(60, 20000);
  StatisticsCache cache({}), other({});
  LogLinearSpec spec = Everything();
  const auto fitted = LogLinearModel::Solve(spec, data, cache);
  const auto again = LogLinearModel::Solve(spec, data, other);
  spec.calibrated = false;
  const auto prior = LogLinearModel::Solve(spec, data, cache);
  ASSERT_TRUE(fitted.ok() && again.ok() && prior.ok());
  EXPECT_EQ(fitted->gains(), again->gains());
  EXPECT_LT(Mean(fitted->Nats(data.test, From(80, 500))),
            Mean(prior->Nats(data.test, From(80, 500))));
  for (double gain : fitted->gains()) {
    EXPECT_GE(gain, spec.gain_min);
    EXPECT_LE(gain, spec.gain_max);
  }
}

TEST(LogLinearModel, RefusesATextTooShortToHoldOutOf) {
  const TextDataset data = SampleText(30, 63);
  StatisticsCache cache({});
  EXPECT_EQ(LogLinearModel::Solve(Everything(), data, cache).status().code(),
            absl::StatusCode::kInvalidArgument);
}

class GainObjectiveTest : public testing::Test {
 protected:
  void SetUp() override {
    const auto loaded = LogLinearTables<float>::Load(
        shape_, data_, {.first = 0, .last = 4000, .rule = rule_}, Discounts::kModified, cache_);
    ASSERT_TRUE(loaded.ok()) << loaded.status();
    tables_ = *loaded;
  }
  const TextDataset data_ = SampleText(60, 4000);
  const HoldoutRule rule_ = HoldoutRule::For(4000);
  StatisticsCache cache_{StatisticsCache::Options{}};
  const LogLinearShape shape_{Everything()};
  LogLinearTables<float> tables_;
};

TEST_F(GainObjectiveTest, HasTheGradientAndCurvatureOfFiniteDifferences) {
  GainObjective objective(shape_, tables_, data_.train, rule_.Targets(4000, 200));
  // No type of this text is too improbable to count.
  std::vector<int> bent;
  ExpectDerivatives(objective, shape_, 1e-2, 2e-3, &bent);
  EXPECT_GT(bent.size(), 20u);
}

TEST_F(GainObjectiveTest, AddsUpOverShardsOfTheHoldout) {
  const std::vector<int32_t> held = rule_.Targets(4000, 200);
  const std::vector<int32_t> front(held.begin(), held.begin() + 77);
  const std::vector<int32_t> back(held.begin() + 77, held.end());
  const Vector<double> x = Eigen::Map<const Vector<double>>(shape_.prior.data(), shape_.gains);
  GainObjective all(shape_, tables_, data_.train, held), a(shape_, tables_, data_.train, front),
      b(shape_, tables_, data_.train, back);
  const GainLoss whole = all.At(x, 0), one = a.At(x, 0), two = b.At(x, 0);
  EXPECT_NEAR(whole.nats, one.nats + two.nats, 1e-9 * whole.nats);
  EXPECT_LT((whole.gradient - one.gradient - two.gradient).cwiseAbs().maxCoeff(), 1e-9);
}

TEST(BoundedNewton, FindsTheMinimumInTheBox) {
  // (x0 - 2)^2 + (x0 - x1)^2 + exp(x2), bounded by 1: x0 = x1 = 1, x2 at its lower bound but for
  // the pull.
  BoundedProblem problem;
  problem.at = [](const Vector<double>& x, bool with_hessian) {
    GainLoss loss;
    loss.nats = (x[0] - 2) * (x[0] - 2) + (x[0] - x[1]) * (x[0] - x[1]) + std::exp(x[2]);
    loss.gradient.resize(3);
    loss.gradient << 2 * (x[0] - 2) + 2 * (x[0] - x[1]), 2 * (x[1] - x[0]), std::exp(x[2]);
    if (with_hessian) {
      // Half the truth, as a sample might say.
      loss.hessian.setZero(3, 3);
      loss.hessian << 2, -1, 0, -1, 1, 0, 0, 0, std::exp(x[2]) / 2;
    }
    return loss;
  };
  problem.min = -4;
  problem.max = 1;
  problem.prior = Vector<double>::Zero(3);
  problem.prior_weight = 1e-9;
  problem.tolerance = 1e-14;
  const BoundedMinimum found = Minimize(problem, Vector<double>::Zero(3));
  EXPECT_NEAR(found.x[0], 1, 1e-6);
  EXPECT_NEAR(found.x[1], 1, 1e-6);
  EXPECT_EQ(found.x[2], -4);
}

TEST(HistoryMixture, IsADistributionBetterThanItsNgrams) {
  const TextDataset data = SampleText(40, 20000);
  StatisticsCache cache({});
  const auto mixture = HistoryMixture::Fit(Everything(), data, cache);
  ASSERT_TRUE(mixture.ok()) << mixture.status();
  for (const auto& [pattern, weights] : mixture->weights()) {
    EXPECT_NEAR(weights[0] + weights[1] + weights[2] + weights[3], 1, 1e-9);
  }
  std::vector<int32_t> stream(data.test.begin(), data.test.begin() + 100);
  double sum = 0;
  for (int32_t i = 0; i < 40; ++i) {
    stream.back() = i;
    sum += std::exp(-mixture->Nats(stream, From(99, 100))[0]);
  }
  EXPECT_NEAR(sum, 1, 1e-5);
}

TEST(DocumentHistory, CountsWordsRecentWordsAndFollowers) {
  DocumentHistory::Types types = {
      .inverse_p1 = std::vector<float>(10, 2.0f), .classes = std::vector<uint8_t>(10, 3), .eod = 1};
  DocumentHistory history(types, 3);
  for (int32_t token : {5, 6, 5, 7, 5, 6, 5}) history.Append(token);
  const auto odds = [](const HistoryList& list) {
    std::map<int, float> by_type;
    for (size_t j = 0; j < list.type.size(); ++j) by_type[list.type[j]] = list.odds[j];
    return by_type;
  };
  using Odds = std::map<int, float>;
  EXPECT_EQ(history.all_types(), 3);
  EXPECT_EQ(odds(history.all()[3]), (Odds{{5, 14}, {6, 6}, {7, 2}}));  // (2 c - 1) / P_1
  EXPECT_EQ(odds(history.recent()[3]), (Odds{{5, 6}, {6, 2}}));
  int occurrences = 0;
  EXPECT_EQ(odds(history.Followers(&occurrences)), (Odds{{6, 6}, {7, 2}}));
  EXPECT_EQ(occurrences, 3);
  const DocumentHistory::Shares shares = history.SharesOf(6);
  EXPECT_DOUBLE_EQ(shares.all, 2.0 / 7);
  EXPECT_DOUBLE_EQ(shares.recent, 1.0 / 3);
  EXPECT_DOUBLE_EQ(shares.followers, 2.0 / 3);
  history.Append(1);
  EXPECT_EQ(history.all_types(), 0);
  EXPECT_LT(history.SharesOf(6).all, 0);
}

}  // namespace
}  // namespace saffron
