#include "core/math/gemm.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "core/base/random.h"

namespace saffron {
namespace {

template <typename T>
class GemmTest : public testing::Test {};
using Scalars = testing::Types<float, double>;
TYPED_TEST_SUITE(GemmTest, Scalars);

template <typename T>
std::vector<T> Draw(int64_t n, uint32_t substream) {
  const CounterRandom random(1, RandomPurpose::kTest, substream);
  std::vector<T> x(n);
  for (int64_t i = 0; i < n; ++i) x[i] = static_cast<T>(random.Normal(i));
  return x;
}

TYPED_TEST(GemmTest, EqualsTheDefinitionForEveryRestOfRowsAndDepth) {
  using T = TypeParam;
  const double tolerance = sizeof(T) == 4 ? 1e-4 : 1e-12;
  for (const int m : {1, 2, 3, 4, 5, 6, 7, 12, 23}) {
    for (const int n : {16, 48}) {
      for (const int k : {0, 1, 5, 63, 64, 65, 200}) {
        const int lda = k + 3, ldb = n + 4, ldc = n + 1;
        const auto a = Draw<T>(m * lda, 1), b = Draw<T>(k * ldb + 1, 2);
        const auto start = Draw<T>(m * ldc, 3);
        std::vector<T> set = start, added = start;
        Gemm<false, T>(m, n, k, {a.data(), lda, 1}, b.data(), ldb, set.data(), ldc);
        Gemm<true, T>(m, n, k, {a.data(), lda, 1}, b.data(), ldb, added.data(), ldc);
        for (int i = 0; i < m; ++i) {
          for (int j = 0; j < n; ++j) {
            double want = 0;
            for (int p = 0; p < k; ++p) want += double{a[i * lda + p]} * b[p * ldb + j];
            ASSERT_NEAR(set[i * ldc + j], want, tolerance) << m << " " << n << " " << k;
            ASSERT_NEAR(added[i * ldc + j], want + start[i * ldc + j], tolerance);
          }
          ASSERT_EQ(set[i * ldc + n], start[i * ldc + n]) << "wrote past a row";
        }
      }
    }
  }
}

TYPED_TEST(GemmTest, TakesATransposedLeftSideByItsStrides) {
  using T = TypeParam;
  constexpr int kM = 11, kN = 16, kK = 70;
  const auto a = Draw<T>(kK * kM, 1), b = Draw<T>(kK * kN, 2);
  std::vector<T> transposed(kM * kK), want(kM * kN), got(kM * kN);
  for (int i = 0; i < kM; ++i) {
    for (int p = 0; p < kK; ++p) transposed[i * kK + p] = a[p * kM + i];
  }
  Gemm<false, T>(kM, kN, kK, {transposed.data(), kK, 1}, b.data(), kN, want.data(), kN);
  Gemm<false, T>(kM, kN, kK, {a.data(), 1, kM}, b.data(), kN, got.data(), kN);
  EXPECT_EQ(got, want);
}

TYPED_TEST(GemmTest, AnElementsBitsAreThoseOfOneFusedChain) {
  using T = TypeParam;
  constexpr int kM = 8, kN = 16, kK = 150;
  const auto a = Draw<T>(kM * kK, 1), b = Draw<T>(kK * kN, 2);
  std::vector<T> c(kM * kN);
  Gemm<false, T>(kM, kN, kK, {a.data(), kK, 1}, b.data(), kN, c.data(), kN);
  for (int i = 0; i < kM; ++i) {
    for (int j = 0; j < kN; ++j) {
      T chain = 0;
      for (int p = 0; p < kK; ++p) chain = std::fma(a[i * kK + p], b[p * kN + j], chain);
      ASSERT_EQ(c[i * kN + j], chain) << i << " " << j;
    }
  }
}

}  // namespace
}  // namespace saffron
