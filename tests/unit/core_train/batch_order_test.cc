#include "core/train/batch_order.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <set>

namespace saffron {
namespace {

std::vector<int64_t> Epoch(const BatchOrder& order, int64_t epoch, int64_t n) {
  std::vector<int64_t> visited(n);
  for (int64_t i = 0; i < n; ++i) visited[i] = order.At(epoch, i);
  return visited;
}

TEST(BatchOrder, AnEpochVisitsEveryExampleOnce) {
  for (const int64_t n : {1, 2, 3, 5, 16, 17, 1000, 4097}) {
    std::vector<int64_t> visited = Epoch(BatchOrder(7, n), 3, n);
    std::sort(visited.begin(), visited.end());
    for (int64_t i = 0; i < n; ++i) ASSERT_EQ(visited[i], i) << "of " << n;
  }
}

TEST(BatchOrder, EpochsAndSeedsDiffer) {
  const int64_t n = 500;
  const auto first = Epoch(BatchOrder(1, n), 0, n);
  EXPECT_EQ(first, Epoch(BatchOrder(1, n), 0, n));
  EXPECT_NE(first, Epoch(BatchOrder(1, n), 1, n));
  EXPECT_NE(first, Epoch(BatchOrder(2, n), 0, n));
}

TEST(BatchOrder, BatchesStringEpochsTogether) {
  const int64_t n = 10;
  const BatchOrder order(5, n);
  std::vector<int64_t> batch, strung;
  for (int64_t step = 0; step < 5; ++step) {
    order.Batch(step, 6, &batch);
    strung.insert(strung.end(), batch.begin(), batch.end());
  }
  for (int64_t i = 0; i < 30; ++i) EXPECT_EQ(strung[i], order.At(i / n, i % n));
}

TEST(BatchOrder, ABatchCanBeLongerThanTheData) {
  std::vector<int64_t> batch;
  BatchOrder(5, 3).Batch(0, 8, &batch);
  EXPECT_EQ(batch.size(), 8u);
  EXPECT_EQ(std::set<int64_t>(batch.begin(), batch.begin() + 3).size(), 3u);
}

// Not a proof of quality, but an order that kept runs of neighbours or a drift would fail.
TEST(BatchOrder, NeighboursAreScattered) {
  const int64_t n = 10'000;
  const auto visited = Epoch(BatchOrder(11, n), 0, n);
  int64_t near = 0;
  double covariance = 0;
  for (int64_t i = 0; i < n; ++i) {
    if (i > 0 && std::abs(visited[i] - visited[i - 1]) < n / 100) ++near;
    covariance += (static_cast<double>(i) / n - 0.5) * (static_cast<double>(visited[i]) / n - 0.5);
  }
  // About 2 % of pairs of a random order are that near; a correlation has deviation 1 / sqrt(n).
  EXPECT_NEAR(static_cast<double>(near) / n, 0.02, 0.01);
  EXPECT_NEAR(12 * covariance / n, 0, 0.05);
}

}  // namespace
}  // namespace saffron
