#include "core/derive/assignment.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <limits>
#include <numeric>

#include "core/base/random.h"

namespace saffron {
namespace {

Matrix<double> RandomCosts(int n, uint64_t seed, bool whole) {
  const CounterRandom random(seed, RandomPurpose::kTest);
  Matrix<double> cost(n, n);
  for (int64_t i = 0; i < cost.size(); ++i) {
    cost.data()[i] = whole ? static_cast<double>(random.Below(i, 4)) : random.Normal(i);
  }
  return cost;
}

double CostOf(const Matrix<double>& cost, const std::vector<int>& rows) {
  double sum = 0;
  for (size_t j = 0; j < rows.size(); ++j) sum += cost(rows[j], static_cast<int64_t>(j));
  return sum;
}

TEST(CheapestAssignment, IsAsCheapAsTheBestOfAllPermutations) {
  for (int n = 0; n <= 7; ++n) {
    for (uint64_t seed = 0; seed < 10; ++seed) {
      const Matrix<double> cost = RandomCosts(n, seed, /*whole=*/seed % 2 == 0);  // with ties
      std::vector<int> rows(n);
      std::iota(rows.begin(), rows.end(), 0);
      double best = n == 0 ? 0 : std::numeric_limits<double>::infinity();
      do {
        best = std::min(best, CostOf(cost, rows));
      } while (std::next_permutation(rows.begin(), rows.end()));
      const std::vector<int> found = CheapestAssignment(cost);
      ASSERT_TRUE(std::is_permutation(found.begin(), found.end(), rows.begin(), rows.end()));
      EXPECT_NEAR(CostOf(cost, found), best, 1e-12) << n << " " << seed;
    }
  }
}

TEST(CheapestAssignment, OfManyRowsCannotBeBetteredByAnyExchangeOfTwoOrThree) {
  constexpr int n = 60;
  const Matrix<double> cost = RandomCosts(n, 3, false);
  const std::vector<int> r = CheapestAssignment(cost);
  for (int a = 0; a < n; ++a) {
    for (int b = 0; b < n; ++b) {
      EXPECT_LE(cost(r[a], a) + cost(r[b], b), cost(r[b], a) + cost(r[a], b) + 1e-12);
      for (int c = 0; c < n; ++c) {
        if (a == b || b == c || a == c) continue;
        ASSERT_LE(cost(r[a], a) + cost(r[b], b) + cost(r[c], c),
                  cost(r[b], a) + cost(r[c], b) + cost(r[a], c) + 1e-12);
      }
    }
  }
}

TEST(CheapestAssignment, OfEqualsIsTheSameEveryTime) {
  const Matrix<double> cost = Matrix<double>::Zero(5, 5);
  EXPECT_EQ(CheapestAssignment(cost), CheapestAssignment(cost));
}

}  // namespace
}  // namespace saffron
