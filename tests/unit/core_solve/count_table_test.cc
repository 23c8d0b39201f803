#include "core/solve/count_table.h"

#include <gtest/gtest.h>

#include <map>

#include "tests/unit/core_solve/text.h"

namespace saffron {
namespace {

std::map<std::pair<int32_t, int32_t>, int64_t> Entries(const CountTable& table) {
  std::map<std::pair<int32_t, int32_t>, int64_t> entries;
  for (int w = 0; w < table.rows(); ++w) {
    for (int32_t i = table.begin[w]; i < table.begin[w + 1]; ++i) {
      EXPECT_TRUE(i == table.begin[w] || table.next[i - 1] < table.next[i]);
      entries[{w, table.next[i]}] += table.count[i];
    }
  }
  return entries;
}

TEST(CountTable, CountsWhatALoopOverTheStreamCounts) {
  const TextDataset data = MadeUpText(50, 3000);
  const HoldoutRule rule = HoldoutRule::For(3000);
  for (int lag : {1, 3}) {
    std::map<std::pair<int32_t, int32_t>, int64_t> want;
    std::vector<int64_t> columns(50);
    for (int64_t t = 0; t < 3000; ++t) {
      if (rule.Holds(t)) continue;
      ++want[{t >= lag ? data.train[t - lag] : data.eod, data.train[t]}];
      ++columns[data.train[t]];
    }
    const CountTable table =
        CountShard(data.train, 50, data.eod, lag, 0, 3000, rule, Part::kCounted);
    EXPECT_EQ(Entries(table), want);
    EXPECT_EQ(table.ColumnSums(50), columns);
    EXPECT_EQ(table.CountOf(want.begin()->first.first, want.begin()->first.second),
              want.begin()->second);
    EXPECT_EQ(table.CountOf(49, 49), want.count({49, 49}) ? (want[{49, 49}]) : 0);
  }
}

TEST(CountTable, ShardsAddUpToTheWholeBitForBit) {
  const TextDataset data = MadeUpText(300, 9000);
  const HoldoutRule rule = HoldoutRule::For(9000);
  const CountTable whole = CountShard(data.train, 300, data.eod, 2, 0, 9000, rule, Part::kCounted);
  for (int64_t cut : {int64_t{1}, int64_t{256}, int64_t{4321}, int64_t{9000}}) {
    const CountTable sum =
        AddCounts(CountShard(data.train, 300, data.eod, 2, 0, cut, rule, Part::kCounted),
                  CountShard(data.train, 300, data.eod, 2, cut, 9000, rule, Part::kCounted));
    EXPECT_EQ(*sum.bytes, *whole.bytes) << cut;
  }
}

TEST(CountTable, TheTwoPartsAddUpToTheStream) {
  const TextDataset data = MadeUpText(90, 5000);
  const HoldoutRule rule = HoldoutRule::For(5000);
  const auto count = [&](Part part) {
    return CountShard(data.train, 90, data.eod, 1, 0, 5000, rule, part);
  };
  std::map<std::pair<int32_t, int32_t>, int64_t> want;
  for (int64_t t = 0; t < 5000; ++t) ++want[{t > 0 ? data.train[t - 1] : data.eod, data.train[t]}];
  EXPECT_EQ(Entries(AddCounts(count(Part::kCounted), count(Part::kHeld))), want);
  StatisticsCache cache({});
  EXPECT_EQ(*LagCounts(data, 1, Part::kHeld, cache)->bytes, *count(Part::kHeld).bytes);
}

TEST(CountTable, PrefixesMadeThroughTheCacheEqualTheWholeWhateverTheCacheHolds) {
  TextDataset data = MadeUpText(200, 40'000);
  const HoldoutRule rule = HoldoutRule::For(40'000);
  const CountTable whole =
      CountShard(data.train, 200, data.eod, 1, 0, 40'000, rule, Part::kCounted);
  StatisticsCache warm({});
  ASSERT_TRUE(LagCounts(data, 1, Part::kCounted, warm).ok());
  EXPECT_EQ(warm.counters().misses, 3);  // 40,000 from 30,000 from 10,000
  EXPECT_EQ(*LagCounts(data, 1, Part::kCounted, warm)->bytes, *whole.bytes);
  // A shorter stream finds its prefix there already.
  data.train.resize(30'000);
  EXPECT_EQ(*LagCounts(data, 1, Part::kCounted, warm)->bytes,
            *CountShard(data.train, 200, data.eod, 1, 0, 30'000, rule, Part::kCounted).bytes);
  EXPECT_EQ(warm.counters().misses, 3);
}

TEST(CountTable, RefusesBrokenBytesAndTinyStreams) {
  const TextDataset data = MadeUpText(20, 1000);
  const CountTable table =
      CountShard(data.train, 20, data.eod, 1, 0, 1000, HoldoutRule::For(1000), Part::kCounted);
  auto cut = std::make_shared<std::vector<char>>(*table.bytes);
  cut->pop_back();
  EXPECT_EQ(ParseCountTable(cut).status().code(), absl::StatusCode::kDataLoss);
  EXPECT_EQ(ParseCountTable(std::make_shared<std::vector<char>>()).status().code(),
            absl::StatusCode::kDataLoss);
  StatisticsCache cache({});
  EXPECT_EQ(LagCounts(MadeUpText(20, 63), 1, Part::kCounted, cache).status().code(),
            absl::StatusCode::kInvalidArgument);
}

TEST(Holdout, EveryFiftiethBlockOrEveryTenthOfAShortStream) {
  EXPECT_EQ(HoldoutRule::For(1'000'000).Targets(1'000'000, 10'000).size(), 9'984u);
  EXPECT_EQ(HoldoutRule::For(100'000).Targets(100'000, 10'000).size(), 9'984u);
  EXPECT_EQ(HoldoutRule::For(1'000'000).Key(), "256x50");
  EXPECT_EQ(HoldoutRule::For(200'000).Key(), "256x10");
  for (int64_t tokens : {kSolveTokensMin, int64_t{1000}, int64_t{10'000}, int64_t{250'000}}) {
    const HoldoutRule rule = HoldoutRule::For(tokens);
    const auto targets = rule.Targets(tokens, 10'000);
    EXPECT_GT(targets.size(), static_cast<size_t>(tokens / 100));
    EXPECT_LT(targets.size(), static_cast<size_t>(tokens / 5));
    for (int32_t t : targets) EXPECT_TRUE(rule.Holds(t) && t < tokens);
  }
}

}  // namespace
}  // namespace saffron
