// Residual evidence against Kneser-Ney itself, and against counting without the target.

#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>

#include "core/log_linear/log_linear_shape.h"
#include "core/log_linear/position_evidence.h"
#include "core/math/exp.h"
#include "core/solve/kneser_ney.h"
#include "tests/unit/core_log_linear/naive_kneser_ney.h"
#include "tests/unit/core_log_linear/sample_text.h"

namespace saffron {
namespace {

TargetSet All(const TextDataset& data) {
  const int64_t tokens = static_cast<int64_t>(data.train.size());
  return {.first = 0, .last = tokens, .rule = HoldoutRule::For(tokens), .held = true};
}

std::vector<double> LogSoftmax(const LogLinearShape& shape, const LogLinearTables<double>& tables,
                               PositionEvidence<double>& evidence, int64_t t,
                               const std::vector<double>& gains) {
  std::vector<double> z = BaseLogits(shape, tables, gains);
  AddRows(evidence.RowsOf(t), gains, z.data());
  const double lse = LogSumExp(z.data(), static_cast<int64_t>(z.size()));
  for (double& v : z) v -= lse;
  return z;
}

TEST(Residuals, WithGainsOfOneAreTheKneserNeyChainAtEveryPosition) {
  const TextDataset data = SampleText(60, 4000);
  StatisticsCache cache({});
  for (Discounts kind : {Discounts::kSingle, Discounts::kModified}) {
    for (int order = 2; order <= 5; ++order) {
      LogLinearSpec spec;
      spec.order = order;
      const LogLinearShape shape(spec);
      const auto tables = LogLinearTables<double>::Load(shape, data, All(data), kind, cache);
      ASSERT_TRUE(tables.ok()) << tables.status();
      const auto chain = KneserNeyModel::Fit(data.train, data.vocab, order, kind);
      ASSERT_TRUE(chain.ok());
      PositionEvidence<double> evidence(shape, *tables, data.test);
      for (int64_t t = 0; t < static_cast<int64_t>(data.test.size()); ++t) {
        const auto got = LogSoftmax(shape, *tables, evidence, t, shape.prior);
        const auto want = chain->Distribution(absl::MakeConstSpan(data.test).first(t));
        for (int i = 0; i < data.vocab; ++i) {
          ASSERT_NEAR(got[i], std::log(want[i]), 1e-6)
              << "order " << order << ", position " << t << ", token " << i;
        }
      }
    }
  }
}

// The chain with one target left out of the counts, by definition.
double NaiveLogP(const TextDataset& data, const LogLinearShape& shape,
                 const LogLinearTables<double>& tables, int order, int64_t t, int32_t i) {
  const NaiveKneserNey naive(data.train, order, t);
  double p = std::exp(tables.log_p1[i]);
  for (int size = 1; size < order && size <= t; ++size) {
    NaiveKneserNey::Context h;
    for (int k = 1; k <= size; ++k) h.push_back(data.train[t - k]);
    p = NaiveKneserNey::Interpolate(naive.ChainCounts(h, size), i, p,
                                    tables.tables[size - 1].discounts);
  }
  return std::log(p);
}

TEST(Residuals, WithATargetLeftOutAreThoseOfATextThatNeverCountedIt) {
  const TextDataset data = SampleText(30, 1500);
  StatisticsCache cache({});
  for (int order : {2, 3, 5}) {
    LogLinearSpec spec;
    spec.order = order;
    const LogLinearShape shape(spec);
    const auto tables =
        LogLinearTables<double>::Load(shape, data, All(data), Discounts::kModified, cache);
    ASSERT_TRUE(tables.ok()) << tables.status();
    PositionEvidence<double> evidence(shape, *tables, data.train, Counted::kLeftOut);
    double largest_change = 0;
    PositionEvidence<double> as_is(shape, *tables, data.train);
    for (int64_t t = order - 1; t < 1500; t += t < 10 ? 1 : 37) {
      const auto got = LogSoftmax(shape, *tables, evidence, t, shape.prior);
      double sum = 0;
      for (int i = 0; i < data.vocab; ++i) {
        const double want = NaiveLogP(data, shape, *tables, order, t, i);
        ASSERT_NEAR(got[i], want, 1e-6) << "order " << order << ", target " << t << ", token " << i;
        sum += std::exp(want);
      }
      EXPECT_NEAR(sum, 1, 1e-9);
      const auto counted = LogSoftmax(shape, *tables, as_is, t, shape.prior);
      largest_change = std::max(largest_change, counted[data.train[t]] - got[data.train[t]]);
    }
    EXPECT_GT(largest_change, 0.5) << "leaving out changes little here: the test shows nothing";
  }
}

TEST(Residuals, OfSkippingTemplatesLeaveTheTargetOutToo) {
  const TextDataset data = SampleText(30, 1500);
  StatisticsCache cache({});
  LogLinearSpec spec;
  spec.order = 1;
  spec.templates = *ParseTemplates("2.3");
  const LogLinearShape shape(spec);
  const auto tables =
      LogLinearTables<double>::Load(shape, data, All(data), Discounts::kModified, cache);
  ASSERT_TRUE(tables.ok()) << tables.status();
  PositionEvidence<double> evidence(shape, *tables, data.train, Counted::kLeftOut);
  std::vector<double> gains(shape.gains, 1.0);
  for (int64_t t = 3; t < 1500; t += 41) {
    // R of (2.3) over (2), by definition.
    std::map<int32_t, int> one, two;
    for (int64_t s = 2; s < 1500; ++s) {
      if (s == t || data.train[s - 2] != data.train[t - 2]) continue;
      ++one[data.train[s]];
      if (s > 2 && data.train[s - 3] == data.train[t - 3]) ++two[data.train[s]];
    }
    std::vector<double> z(data.vocab, 0.0);
    AddRows(evidence.RowsOf(t), gains, z.data());
    for (int i = 0; i < data.vocab; ++i) {
      const double below = NaiveKneserNey::Interpolate(one, i, std::exp(tables->log_p1[i]),
                                                       tables->tables[0].discounts);
      double backoff = 0;
      for (const auto& [j, c] : two) backoff += DiscountOf(tables->tables[1].discounts, c);
      const int c = two.count(i) ? two[i] : 0;
      const double kept = c - DiscountOf(tables->tables[1].discounts, c);
      ASSERT_NEAR(z[i], c == 0 ? 0 : std::log1p(kept / (backoff * below)), 1e-9)
          << "target " << t << ", token " << i;
    }
  }
}

TEST(Residuals, OfAPairBesideAChainLeaveTheTargetOutOfTheContinuationsItBacksOffToToo) {
  const TextDataset data = SampleText(30, 1500);
  StatisticsCache cache({});
  const LagTemplate pair = *LagTemplate::Parse("1.3");
  // Trigrams say what a continuation rests on: on top of the chain, and in the middle of it.
  for (int order : {3, 5}) {
    LogLinearSpec spec;
    spec.order = order;
    spec.templates = {pair};
    const LogLinearShape shape(spec);
    const auto tables =
        LogLinearTables<double>::Load(shape, data, All(data), Discounts::kModified, cache);
    ASSERT_TRUE(tables.ok()) << tables.status();
    const size_t n = shape.nodes.size() - 1;
    ASSERT_EQ(shape.nodes[n].level.lags, pair);
    const ResidualTable<double>& own = tables->tables[n];
    const ResidualTable<double>& parent = tables->tables[shape.nodes[n].parent];
    std::vector<double> gains(shape.gains, 0.0);
    std::fill_n(gains.begin() + shape.nodes[n].lambda, kCountClasses, 1.0);
    PositionEvidence<double> evidence(shape, *tables, data.train, Counted::kLeftOut);
    int continuations_lost = 0;
    for (int64_t t = 3; t < 1500; t += 17) {
      // R of (1.3) over the continuations of (1), by definition.
      const NaiveKneserNey::Context h = {data.train[t - 1]};
      const auto one = NaiveKneserNey(data.train, 3, t).ChainCounts(h, 1);
      continuations_lost += one != NaiveKneserNey(data.train, 3, -1).ChainCounts(h, 1);
      std::map<int32_t, int> two;
      for (int64_t s = 3; s < 1500; ++s) {
        if (s != t && data.train[s - 1] == h[0] && data.train[s - 3] == data.train[t - 3]) {
          ++two[data.train[s]];
        }
      }
      std::vector<double> z(data.vocab, 0.0);
      AddRows(evidence.RowsOf(t), gains, z.data());
      double backoff = 0;
      for (const auto& [j, c] : two) backoff += DiscountOf(own.discounts, c);
      for (int i = 0; i < data.vocab; ++i) {
        const double below =
            NaiveKneserNey::Interpolate(one, i, std::exp(tables->log_p1[i]), parent.discounts);
        const int c = two.count(i) ? two[i] : 0;
        const double kept = c - DiscountOf(own.discounts, c);
        ASSERT_NEAR(z[i], c == 0 ? 0 : std::log1p(kept / (backoff * below)), 1e-9)
            << "order " << order << ", target " << t << ", token " << i;
      }
    }
    EXPECT_GT(continuations_lost, 5) << "no target takes a continuation along: shows nothing";
  }
}

TEST(Residuals, ComeOutOfTheCacheAsTheyWentIn) {
  const TextDataset data = SampleText(60, 4000);
  const std::string dir = testing::TempDir() + "/residual_cache";
  LogLinearSpec spec;
  spec.templates = *ParseTemplates("skip+pair");
  const LogLinearShape shape(spec);
  StatisticsCache none({}), first({.dir = dir}), second({.dir = dir});
  for (StatisticsCache* cache : {&first, &second}) {
    const auto fresh =
        LogLinearTables<float>::Load(shape, data, All(data), Discounts::kModified, none);
    const auto kept =
        LogLinearTables<float>::Load(shape, data, All(data), Discounts::kModified, *cache);
    ASSERT_TRUE(fresh.ok() && kept.ok());
    for (size_t n = 0; n < shape.nodes.size(); ++n) {
      EXPECT_EQ(fresh->tables[n].residual, kept->tables[n].residual);
      EXPECT_EQ(fresh->tables[n].next, kept->tables[n].next);
      EXPECT_EQ(fresh->tables[n].tally, kept->tables[n].tally);
      EXPECT_EQ(reinterpret_cast<uintptr_t>(kept->tables[n].residual.data()) % 8, 0u);
    }
  }
  EXPECT_EQ(second.counters().misses, 0);
  // And the counts of one token, for the root.
  EXPECT_EQ(second.counters().disk_hits, static_cast<int64_t>(shape.nodes.size()) + 1);
}

TEST(Residuals, AreMadeFromCountsThatAreTakenOnceForAllWhoNeedThem) {
  const TextDataset data = SampleText(60, 4000);
  const std::string dir = testing::TempDir() + "/counts_taken_once";
  std::filesystem::remove_all(dir);  // of an earlier run
  StatisticsCache cache({.dir = dir});
  LogLinearSpec spec;
  spec.templates = *ParseTemplates("skip+pair");
  const auto misses = [&](const LogLinearSpec& spec, bool held, Discounts kind) {
    const int64_t before = cache.counters().misses;
    TargetSet targets = All(data);
    targets.held = held;
    const auto loaded =
        LogLinearTables<float>::Load(LogLinearShape(spec), data, targets, kind, cache);
    EXPECT_TRUE(loaded.ok()) << loaded.status();
    return cache.counters().misses - before;
  };
  // Nine tables, of nine templates.
  EXPECT_EQ(misses(spec, false, Discounts::kModified), 9 + 9);
  EXPECT_EQ(misses(spec, true, Discounts::kModified), 9);  // the hold-out's counts are added
  EXPECT_EQ(misses(spec, false, Discounts::kSingle), 9);
  spec.order = 4;  // whose longest n-grams are tables of another kind, of the same counts
  EXPECT_EQ(misses(spec, false, Discounts::kModified), 1);
  spec.templates = *ParseTemplates("1.2.4");
  EXPECT_EQ(misses(spec, false, Discounts::kModified), 1 + 1);
}

TEST(Residuals, AreTheSameOnceWhatTheyAreMadeFromWasReleased) {
  const TextDataset data = SampleText(60, 4000);
  StatisticsCache cache({});
  LogLinearSpec spec;
  spec.templates = *ParseTemplates("skip+pair");
  const LogLinearShape shape(spec);
  std::vector<Level> levels;
  for (const LevelNode& node : shape.nodes) levels.push_back(node.level);
  ResidualSource<float> kept(data, All(data), Discounts::kModified, levels, cache);
  ResidualSource<float> released(data, All(data), Discounts::kModified, levels, cache);
  // The cache would answer for tables that are still in use, so what is kept here is a copy. Last
  // to first, so that parents are wanted after they were released.
  for (size_t n = shape.nodes.size(); n-- > 0;) {
    std::vector<float> want;
    {
      const auto table = kept.Table(shape.nodes[n].level);
      ASSERT_TRUE(table.ok());
      want.assign(table->residual.begin(), table->residual.end());
    }
    const auto table = released.Table(shape.nodes[n].level);
    ASSERT_TRUE(table.ok());
    EXPECT_EQ(std::vector<float>(table->residual.begin(), table->residual.end()), want);
    for (const LevelNode& node : shape.nodes) released.Release(node.level);
  }
  EXPECT_EQ(cache.counters().memory_hits, 0);
}

}  // namespace
}  // namespace saffron
