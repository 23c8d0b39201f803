#include "core/log_linear/dense_objective.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "core/log_linear/gain_objective.h"
#include "tests/unit/core_log_linear/sample_text.h"

namespace saffron {
namespace {

constexpr int kVocab = 60, kTokens = 4000;

template <typename T>
class Trained {
 public:
  explicit Trained(Counted counted)
      : shape(Spec()),
        tables(Load()),
        gains(Gains(shape)),
        objective(shape, gains, data.train, counted, &tables),
        d(objective.size()),
        gradient(objective.size()) {
    objective.Set(absl::MakeConstSpan(d));
  }
  double Loss() { return objective.At(targets, absl::MakeSpan(gradient)); }
  // Something that no two keys, features or tokens have alike.
  void Disturb() {
    for (size_t i = 0; i < d.size(); ++i) d[i] = T(0.3) * std::sin(static_cast<T>(i));
    objective.Set(absl::MakeConstSpan(d));
  }

  static LogLinearSpec Spec() {
    LogLinearSpec spec;
    spec.order = 3;
    spec.unigram = spec.seen_gains = true;
    spec.histories = {HistoryKind::kRecent};
    spec.dense = {.bits = 8,
                  .context = 2,
                  .streams = {Stream::kCipher, Stream::kContext, Stream::kBag},
                  .context_lags = 2,
                  .radius = 5,
                  .alpha = 20,
                  .kappa = 1};
    return spec;
  }
  LogLinearTables<T> Load() const {
    StatisticsCache cache({});
    auto loaded = LogLinearTables<T>::Load(
        shape, data, {.first = 0, .last = kTokens, .rule = HoldoutRule::For(kTokens), .held = true},
        Discounts::kModified, cache);
    EXPECT_TRUE(loaded.ok()) << loaded.status();
    return *std::move(loaded);
  }
  // No two alike, so that a gradient with the gain of another class is not right by chance.
  static std::vector<double> Gains(const LogLinearShape& shape) {
    std::vector<double> gains = shape.prior;
    for (size_t g = 0; g < gains.size(); ++g) gains[g] += 0.02 * static_cast<double>(g % 7);
    return gains;
  }

  const TextDataset data = SampleText(kVocab, kTokens);
  const LogLinearShape shape;
  LogLinearTables<T> tables;
  const std::vector<double> gains;
  DenseObjective<T> objective;
  std::vector<T> d, gradient;
  // More than are looked at together, and no multiple of that.
  std::vector<int64_t> targets = [] {
    std::vector<int64_t> some;
    for (int64_t t = 0; t < kTokens; t += 53) some.push_back(t);
    return some;
  }();
};

TEST(DenseObjective, HasTheGradientOfFiniteDifferences) {
  for (const Counted counted : {Counted::kAsIs, Counted::kLeftOut}) {
    Trained<double> trained(counted);
    trained.Disturb();
    trained.Loss();
    const std::vector<double> gradient = trained.gradient;
    const size_t table = 8 * kVocab;
    ASSERT_EQ(gradient.size(), 5 * table);
    std::vector<int> touched(5);
    for (size_t i = 0; i < gradient.size(); i += 7) {
      const double kept = trained.d[i], step = 1e-4;
      const auto loss_at = [&](double value) {
        trained.d[i] = value;
        trained.objective.Set(absl::MakeConstSpan(trained.d));
        return trained.Loss();
      };
      const double slope = (loss_at(kept + step) - loss_at(kept - step)) / (2 * step);
      trained.d[i] = kept;
      ASSERT_NEAR(gradient[i], slope, 1e-6 * std::abs(slope) + 1e-10) << i;
      touched[i / table] += std::abs(gradient[i]) > 1e-6;
    }
    // Two codes, two context vectors, the mean code.
    for (const int entries : touched) EXPECT_GT(entries, 40);
  }
}

TEST(DenseObjective, BeginsAtTheSolvedModelAndComesBackToIt) {
  for (const Counted counted : {Counted::kAsIs, Counted::kLeftOut}) {
    Trained<float> trained(counted);
    const auto solved = trained.Load();
    const double at_zero = trained.Loss();
    const auto count = static_cast<double>(trained.targets.size());
    GainObjective<float> fit(trained.shape, solved, trained.data.train,
                             {trained.targets.begin(), trained.targets.end()}, counted);
    const auto gains = Eigen::Map<const Vector<double>>(trained.gains.data(), trained.shape.gains);
    EXPECT_EQ(at_zero, fit.At(gains, 0).nats / count);
    const std::vector<float> gradient = trained.gradient;
    trained.Disturb();
    EXPECT_NE(trained.Loss(), at_zero);
    std::fill(trained.d.begin(), trained.d.end(), 0.0f);
    trained.objective.Set(absl::MakeConstSpan(trained.d));
    EXPECT_EQ(trained.Loss(), at_zero);
    EXPECT_EQ(trained.gradient, gradient);
  }
}

TEST(DenseObjective, WhatIsLearntSpeaksOfLeftOutTargetsToo) {
  Trained<double> trained(Counted::kLeftOut);
  DenseEvidence<double> evidence(trained.shape, trained.tables.dense, trained.data.train,
                                 Counted::kLeftOut);
  for (const int64_t t : {1, 40, 41, 3999}) {
    std::fill(trained.d.begin(), trained.d.end(), 0.0);
    trained.objective.Set(absl::MakeConstSpan(trained.d));
    evidence.Load(absl::MakeConstSpan(&t, 1));
    std::vector<std::vector<double>> before;
    for (const auto& row : evidence.RowsOf(0)) before.emplace_back(row.value, row.value + kVocab);
    trained.Disturb();
    evidence.Load(absl::MakeConstSpan(&t, 1));
    for (size_t k = 0; k < before.size(); ++k) {
      const DenseInput<double> x = evidence.InputsOf(0)[k];
      for (int i = 0; i < kVocab; ++i) {
        double sum = before[k][i];
        for (int e = 0; e < x.size; ++e) {
          const size_t j = x.index == nullptr ? e : x.index[e];
          sum += x.value[e] * trained.d[(k * 8 + j) * kVocab + i];
        }
        ASSERT_NEAR(evidence.RowsOf(0)[k].value[i], sum, 1e-12) << t << " " << k << " " << i;
      }
    }
  }
}

}  // namespace
}  // namespace saffron
