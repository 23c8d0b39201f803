#include "core/math/packed_gemm.h"

#include <gtest/gtest.h>

#include <vector>

#include "core/base/random.h"
#include "core/math/matrix.h"

namespace saffron {
namespace {

template <typename T>
class PackedGemmTest : public testing::Test {
 protected:
  static Matrix<T> Draw(int64_t rows, int64_t cols, uint64_t from) {
    const CounterRandom random(from, RandomPurpose::kTest);
    Matrix<T> m(rows, cols);
    for (int64_t i = 0; i < m.size(); ++i) m.data()[i] = static_cast<T>(random.Normal(i));
    return m;
  }
};
using Numbers = testing::Types<float, double>;
TYPED_TEST_SUITE(PackedGemmTest, Numbers);

TYPED_TEST(PackedGemmTest, EveryShapeAndLayoutIsTheProduct) {
  using T = TypeParam;
  const double tolerance = sizeof(T) == 8 ? 1e-12 : 2e-3;
  for (const int64_t m : {1, 2, 5, 6, 7, 8, 9, 13, 48}) {
    for (const int64_t n : {1, 15, 16, 33, 64}) {
      for (const int64_t k : {1, 7, 64, 300, 515}) {
        const Matrix<T> a = TestFixture::Draw(m, k, 1), b = TestFixture::Draw(k, n, 2);
        const Matrix<T> at = a.transpose(), bt = b.transpose(), start = TestFixture::Draw(m, n, 3);
        const Matrix<T> product = a * b;
        std::vector<T> packed(PackedSize<T>(k, n)), transposed(PackedSize<T>(k, n));
        PackRight(k, n, b.data(), n, packed.data());
        PackRightTransposed(k, n, bt.data(), k, transposed.data());
        EXPECT_EQ(packed, transposed);
        Matrix<T> c = start;
        GemmPacked<false, T>(m, n, k, {a.data(), k, 1}, packed.data(), c.data(), n);
        EXPECT_LE((c - product).cwiseAbs().maxCoeff(), tolerance) << m << " " << n << " " << k;
        Matrix<T> d = start;
        GemmPacked<true, T>(m, n, k, {at.data(), 1, m}, packed.data(), d.data(), n);
        EXPECT_LE((d - start - product).cwiseAbs().maxCoeff(), tolerance)
            << m << " " << n << " " << k;
      }
    }
  }
}

TYPED_TEST(PackedGemmTest, BitsDependNeitherOnTheOtherRowsNorOnPacking) {
  using T = TypeParam;
  constexpr int64_t m = 29, n = 32, k = 300;
  const Matrix<T> a = TestFixture::Draw(m, k, 1), b = TestFixture::Draw(k, n, 2);
  std::vector<T> packed(PackedSize<T>(k, n));
  PackRight(k, n, b.data(), n, packed.data());
  Matrix<T> whole(m, n), unpacked(m, n), row(1, n);
  GemmPacked<false, T>(m, n, k, {a.data(), k, 1}, packed.data(), whole.data(), n);
  GemmUnpacked<false, T>(m, n, k, {a.data(), k, 1}, b.data(), n, unpacked.data(), n);
  EXPECT_EQ(whole, unpacked);
  for (int64_t i = 0; i < m; ++i) {
    GemmPacked<false, T>(1, n, k, {a.row(i).data(), k, 1}, packed.data(), row.data(), n);
    EXPECT_EQ(Matrix<T>(whole.row(i)), row) << i;
  }
}

// A packed matrix serves products that stop early or begin late in its rows.
TYPED_TEST(PackedGemmTest, PartsOfAPackedMatrixMultiplyToo) {
  using T = TypeParam;
  constexpr int64_t m = 7, n = 20, depth = 40, first = 9, k = 21;
  const Matrix<T> a = TestFixture::Draw(m, k, 1), b = TestFixture::Draw(depth, n, 2);
  std::vector<T> packed(PackedSize<T>(depth, n));
  PackRight(depth, n, b.data(), n, packed.data());
  Matrix<T> c(m, n);
  GemmPacked<false, T>(m, n, k, {a.data(), k, 1}, packed.data() + first * kPanelColumns<T>, depth,
                       c.data(), n);
  const Matrix<T> want = a * b.middleRows(first, k);
  EXPECT_LE((c - want).cwiseAbs().maxCoeff(), 1e-4);
}

}  // namespace
}  // namespace saffron
