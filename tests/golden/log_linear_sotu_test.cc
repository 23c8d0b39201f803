// Log-linear models on real text, against the figures of the NumPy prototype that they were derived
// with: State of the Union, a million tokens, 4,096 types, every fifth test target. Bands are 2 %.

#include <gtest/gtest.h>

#include <cmath>

#include "core/data/data_store.h"
#include "core/log_linear/history_mixture.h"
#include "core/log_linear/log_linear_model.h"
#include "core/math/exp.h"
#include "core/solve/kneser_ney.h"

namespace saffron {
namespace {

class LogLinearOnSotu : public ::testing::Test {
 protected:
  void SetUp() override {
    static DataStore* store = new DataStore(DataStore::DefaultRoot());
    auto data = store->Text({.corpus = "sotu"});
    ASSERT_TRUE(data.ok()) << "the corpus \"sotu\" is not in " << DataStore::DefaultRoot()
                           << " (set SAFFRON_DATA; quickstart.sh fetches it): " << data.status();
    data_ = *data;
    for (size_t t = kEvalContext; t < data_->test.size(); t += 5) targets_.push_back(t);
  }

  template <typename Model>
  void ExpectPerplexity(const Model& model, double want, const std::string& what) {
    double sum = 0;
    for (double nats : model.Nats(data_->test, targets_)) sum += nats;
    const double got = std::exp(sum / static_cast<double>(targets_.size()));
    std::printf("[   FIGURE ] %-28s %8.2f   (reference %.2f)\n", what.c_str(), got, want);
    EXPECT_NEAR(got, want, 0.02 * want) << what;
  }
  void ExpectRow(const LogLinearSpec& spec, double want, const std::string& what) {
    const auto model = LogLinearModel::Solve(spec, *data_, cache_);
    ASSERT_TRUE(model.ok()) << model.status();
    ExpectPerplexity(*model, want, what);
  }

  static LogLinearSpec Everything() {
    LogLinearSpec spec;
    spec.templates = *ParseTemplates("skip+pair");
    spec.histories = {HistoryKind::kAll, HistoryKind::kRecent, HistoryKind::kFollowers};
    spec.unigram = true;
    spec.seen_gains = true;
    return spec;
  }

  std::shared_ptr<const TextDataset> data_;
  std::vector<int64_t> targets_;
  StatisticsCache cache_{StatisticsCache::Options{}};
};

TEST_F(LogLinearOnSotu, ChainsOfNgrams) {
  LogLinearSpec spec;
  spec.refolded = false;
  spec.calibrated = false;
  ExpectRow(spec, 71.74, "chain 5, gains of 1");
  spec.calibrated = true;
  ExpectRow(spec, 71.31, "chain 5, gains by count");
}

TEST_F(LogLinearOnSotu, DenseEvidenceBesideTheChain) {
  LogLinearSpec spec;
  spec.refolded = false;
  spec.unigram = true;
  spec.dense.streams = {Stream::kCipher, Stream::kContext, Stream::kBag};
  spec.dense.context_lags = 3;
  ExpectRow(spec, 68.63, "chain 5, x1-4, c1-3, r");
}

TEST_F(LogLinearOnSotu, Everything) { ExpectRow(Everything(), 59.55, "everything"); }

TEST_F(LogLinearOnSotu, KneserNeyMixedWithTheSameHistories) {
  const auto mixture = HistoryMixture::Fit(Everything(), *data_, cache_);
  ASSERT_TRUE(mixture.ok()) << mixture.status();
  ExpectPerplexity(*mixture, 66.76, "modified KN-5 + histories");
}

TEST_F(LogLinearOnSotu, GainsOfOneAreKneserNey) {
  LogLinearSpec spec;
  const LogLinearShape shape(spec);
  const int64_t tokens = static_cast<int64_t>(data_->train.size());
  const auto tables = LogLinearTables<double>::Load(
      shape, *data_, {.first = 0, .last = tokens, .rule = HoldoutRule::For(tokens), .held = true},
      Discounts::kModified, cache_);
  ASSERT_TRUE(tables.ok()) << tables.status();
  const auto chain = KneserNeyModel::Fit(data_->train, data_->vocab, 5, Discounts::kModified);
  ASSERT_TRUE(chain.ok()) << chain.status();
  const std::vector<double> want = chain->Nats(data_->test, 0);
  PositionEvidence<double> evidence(shape, *tables, data_->test);
  double worst = 0;
  for (const int64_t t : targets_) {
    std::vector<double> z = BaseLogits(shape, *tables, shape.prior);
    AddRows(evidence.RowsOf(t), shape.prior, z.data());
    const double got = LogSumExp(z.data(), static_cast<int64_t>(z.size())) - z[data_->test[t]];
    worst = std::max(worst, std::abs(got - want[t]));
  }
  std::printf("[   FIGURE ] largest difference in nats: %.1e\n", worst);
  EXPECT_LT(worst, 1e-6);
}

}  // namespace
}  // namespace saffron
