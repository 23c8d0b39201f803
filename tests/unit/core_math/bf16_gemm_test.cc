#include "core/math/bf16_gemm.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstdlib>
#include <limits>
#include <vector>

#include "core/base/random.h"
#include "core/math/matrix.h"

namespace saffron {
namespace {

// The nearest bfloat16, ties to even.
float Rounded(float x) {
  const auto bits = std::bit_cast<uint32_t>(x);
  return std::bit_cast<float>((bits + 0x7fff + (bits >> 16 & 1)) & 0xffff0000u);
}

float Lower(Bf16Pair pair) { return std::bit_cast<float>(pair << 16); }
float Upper(Bf16Pair pair) { return std::bit_cast<float>(pair & 0xffff0000u); }

class Bf16GemmTest : public testing::Test {
 protected:
  void SetUp() override {
    if (!CpuHasBf16()) GTEST_SKIP() << "no AVX512-BF16";
  }
  static Matrix<float> Draw(int64_t rows, int64_t cols, uint64_t from) {
    const CounterRandom random(from, RandomPurpose::kTest);
    Matrix<float> m(rows, cols);
    for (int64_t i = 0; i < m.size(); ++i) m.data()[i] = static_cast<float>(random.Normal(i));
    return m;
  }
  static std::vector<Bf16Pair> AlongRows(const Matrix<float>& x) {
    std::vector<Bf16Pair> to(x.rows() * Bf16Pairs(x.cols()));
    Bf16AlongRows(x.rows(), x.cols(), x.data(), x.cols(), to.data(), Bf16Pairs(x.cols()));
    return to;
  }
};

TEST_F(Bf16GemmTest, NumbersAreRoundedToTheNearestTiesToEven) {
  const float tie = 1 + 0x1p-8f, above = 1 + 0x1p-8f + 0x1p-20f, next = 1 + 0x3p-8f;
  const float huge = std::numeric_limits<float>::max();
  const Matrix<float> x{{tie, above, next, -tie, 3e-39f, huge, 0.1f}};
  const std::vector<Bf16Pair> pairs = AlongRows(x);
  const float want[] = {1, 1 + 0x1p-7f, 1 + 0x1p-6f, -1, 0, HUGE_VALF, Rounded(0.1f), 0};
  for (int p = 0; p < 4; ++p) {
    EXPECT_EQ(Lower(pairs[p]), want[2 * p]) << p;
    EXPECT_EQ(Upper(pairs[p]), want[2 * p + 1]) << p;
  }
}

TEST_F(Bf16GemmTest, NoNumberBeyondTheMatrixIsRead) {
  // Rows of three with NaN between and below them.
  Matrix<float> x = Matrix<float>::Constant(4, 5, NAN);
  x.topLeftCorner(3, 3) = Draw(3, 3, 1);
  std::vector<Bf16Pair> along(3 * 2), down(2 * 3), packed(Bf16PackedSize(3, 3)),
      transposed(Bf16PackedSize(3, 3));
  Bf16AlongRows(3, 3, x.data(), 5, along.data(), 2);
  Bf16DownColumns(3, 3, x.data(), 5, down.data(), 3);
  Bf16PackRight(3, 3, x.data(), 5, packed.data());
  Bf16PackRightTransposed(3, 3, x.data(), 5, transposed.data());
  for (const auto& pairs : {along, down, packed, transposed}) {
    for (const Bf16Pair pair : pairs) {
      EXPECT_FALSE(std::isnan(Lower(pair)) || std::isnan(Upper(pair)));
    }
  }
}

TEST_F(Bf16GemmTest, EveryShapeAndLayoutIsTheProductOfTheRoundedOperands) {
  for (const int64_t m : {1, 2, 5, 11, 12, 13, 14, 15, 27, 48}) {
    for (const int64_t n : {1, 15, 16, 17, 32, 33, 64}) {
      for (const int64_t k : {1, 2, 7, 64, 301, 515}) {
        const Matrix<float> a = Draw(m, k, 1), b = Draw(k, n, 2), start = Draw(m, n, 3);
        const Matrix<float> at = a.transpose(), bt = b.transpose();
        const Matrix<double> exact =
            a.unaryExpr(&Rounded).cast<double>() * b.unaryExpr(&Rounded).cast<double>();
        std::vector<Bf16Pair> packed(Bf16PackedSize(k, n), 1), transposed(packed.size(), 2);
        Bf16PackRight(k, n, b.data(), n, packed.data());
        Bf16PackRightTransposed(k, n, bt.data(), k, transposed.data());
        ASSERT_EQ(packed, transposed) << n << " " << k;
        const std::vector<Bf16Pair> along = AlongRows(a);
        std::vector<Bf16Pair> down(Bf16Pairs(k) * m);
        Bf16DownColumns(k, m, at.data(), m, down.data(), m);
        Matrix<float> c = start, d = start;
        Bf16Gemm<false>(m, n, k, {along.data(), Bf16Pairs(k), 1}, packed.data(), c.data(), n);
        Bf16Gemm<true>(m, n, k, {down.data(), 1, m}, packed.data(), d.data(), n);
        const double tolerance = 1e-6 * static_cast<double>(k + 1);
        EXPECT_LE((c.cast<double>() - exact).cwiseAbs().maxCoeff(), tolerance)
            << m << " " << n << " " << k;
        EXPECT_LE((d.cast<double>() - start.cast<double>() - exact).cwiseAbs().maxCoeff(),
                  tolerance)
            << m << " " << n << " " << k;
      }
    }
  }
}

TEST_F(Bf16GemmTest, BitsDependNeitherOnTheOtherRowsNorOnTheLayout) {
  constexpr int64_t m = 29, n = 40, k = 300;
  const Matrix<float> a = Draw(m, k, 1), b = Draw(k, n, 2), at = a.transpose();
  std::vector<Bf16Pair> packed(Bf16PackedSize(k, n)), down(k / 2 * m);
  Bf16PackRight(k, n, b.data(), n, packed.data());
  const std::vector<Bf16Pair> along = AlongRows(a);
  Bf16DownColumns(k, m, at.data(), m, down.data(), m);
  Matrix<float> whole(m, n), other(m, n), row(1, n);
  Bf16Gemm<false>(m, n, k, {along.data(), k / 2, 1}, packed.data(), whole.data(), n);
  Bf16Gemm<false>(m, n, k, {down.data(), 1, m}, packed.data(), other.data(), n);
  EXPECT_EQ(whole, other);
  for (int64_t i = 0; i < m; ++i) {
    Bf16Gemm<false>(1, n, k, {along.data() + i * k / 2, k / 2, 1}, packed.data(), row.data(), n);
    EXPECT_EQ(Matrix<float>(whole.row(i)), row) << i;
  }
}

TEST_F(Bf16GemmTest, TheEnvironmentCanHideTheFeature) {
  setenv("SAFFRON_CPU", "x86-64-v3", 1);
  EXPECT_FALSE(CpuHasBf16());
  unsetenv("SAFFRON_CPU");
  EXPECT_TRUE(CpuHasBf16());
}

}  // namespace
}  // namespace saffron
