#include "coordinator/report/replay_comparison.h"

#include <cmath>
#include <limits>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace saffron {
namespace {

const std::vector<MetricPoint> kRun = {{"train/loss", 5, 1.5},
                                       {"valid/perplexity", 0, 3},
                                       {"valid/perplexity", 10, 2},
                                       {"test/perplexity", std::nullopt, 2.5},
                                       {"time/total_s", std::nullopt, 7}};

TEST(ReplayComparison, TheSameNumbersInAnyOrderAreTheSame) {
  std::vector<MetricPoint> other = kRun;
  std::swap(other[0], other[3]);
  EXPECT_TRUE(CompareMetrics(kRun, other).empty());
}

TEST(ReplayComparison, TimeMayDiffer) {
  std::vector<MetricPoint> other = kRun;
  other.back().value = 8;
  EXPECT_TRUE(CompareMetrics(kRun, other).empty());
}

TEST(ReplayComparison, OneBitIsADifferenceAndTheFirstStepComesFirst) {
  std::vector<MetricPoint> other = kRun;
  other[2].value = std::nextafter(2.0, 3.0);
  other[0].value = 1.25;
  other[3].value = 9;
  const auto differences = CompareMetrics(kRun, other);
  ASSERT_EQ(differences.size(), 3u);
  EXPECT_EQ(differences[0].key, "train/loss");
  EXPECT_EQ(differences[0].step, 5);
  EXPECT_EQ(differences[1].step, 10);
  EXPECT_EQ(differences[2].step, std::nullopt);
  const ResultTable table = DifferenceTable(differences);
  EXPECT_EQ(std::get<std::string>(table.rows[1][3]), "2.0000000000000004");
}

TEST(ReplayComparison, APointThatIsMissingIsADifference) {
  std::vector<MetricPoint> other = kRun;
  other.erase(other.begin());
  const auto differences = CompareMetrics(kRun, other);
  ASSERT_EQ(differences.size(), 1u);
  EXPECT_EQ(differences[0].stored, 1.5);
  EXPECT_EQ(differences[0].replayed, std::nullopt);
}

TEST(ReplayComparison, NaNEqualsNaNAndZeroHasASign) {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  EXPECT_TRUE(CompareMetrics({{"train/loss", 1, nan}}, {{"train/loss", 1, -nan}}).empty());
  EXPECT_EQ(CompareMetrics({{"train/loss", 1, 0.0}}, {{"train/loss", 1, -0.0}}).size(), 1u);
}

}  // namespace
}  // namespace saffron
