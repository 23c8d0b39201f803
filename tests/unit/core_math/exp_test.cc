#include "core/math/exp.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "core/base/random.h"

namespace saffron {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

float FromBits(uint32_t bits) {
  float x;
  std::memcpy(&x, &bits, sizeof x);
  return x;
}

// Distance from the exact value in units of the float spacing at that value.
double UlpError(float got, double exact) {
  if (exact == 0) return got == 0 ? 0 : 1e9;
  int exponent;
  std::frexp(exact, &exponent);
  const double ulp = std::ldexp(1.0, std::max(exponent - 24, -149));
  return std::abs(static_cast<double>(got) - exact) / ulp;
}

// Every stride-th bit pattern that is a number, so that all exponents and both signs occur.
std::vector<float> FloatsOfAllSizes(uint32_t stride) {
  std::vector<float> all;
  for (uint64_t bits = 0; bits < (uint64_t{1} << 32); bits += stride) {
    const float x = FromBits(static_cast<uint32_t>(bits));
    if (!std::isnan(x)) all.push_back(x);
  }
  return all;
}

TEST(Exp, IsWithinTwoUlpOverTheWholeRange) {
  const std::vector<float> x = FloatsOfAllSizes(2011);
  std::vector<float> y = x;
  ExpInPlace(y.data(), static_cast<int64_t>(y.size()));
  for (size_t i = 0; i < x.size(); ++i) {
    const double exact = std::exp(static_cast<double>(x[i]));
    if (exact >= 0x1.ffffffp127) {
      ASSERT_EQ(y[i], kInfinity) << x[i];
    } else {
      ASSERT_LE(UlpError(y[i], exact), 2.0) << x[i];
    }
  }
}

TEST(Exp, IsWithinTwoUlpWhereSoftmaxUsesIt) {
  for (int i = 0; i < 1'000'000; i += 8) {
    alignas(32) float x[8], y[8];
    for (int j = 0; j < 8; ++j) x[j] = -static_cast<float>(i + j) * 87.0e-6f;
    Simd<float>::Store(y, ExpOfNonPositive(Simd<float>::Load(x)));
    for (int j = 0; j < 8; ++j) {
      ASSERT_LE(UlpError(y[j], std::exp(static_cast<double>(x[j]))), 2.0) << x[j];
    }
  }
}

TEST(Exp, KeepsTheSpecialValues) {
  std::vector<float> x = {kInfinity, -kInfinity, kNan, 0.0f, -0.0f, 88.8f, -104.5f, 1e30f, -1e30f};
  ExpInPlace(x.data(), static_cast<int64_t>(x.size()));
  EXPECT_EQ(x[0], kInfinity);
  EXPECT_EQ(x[1], 0.0f);
  EXPECT_TRUE(std::isnan(x[2]));
  EXPECT_EQ(x[3], 1.0f);
  EXPECT_EQ(x[4], 1.0f);
  EXPECT_EQ(x[5], kInfinity);
  EXPECT_EQ(x[6], 0.0f);
  EXPECT_EQ(x[7], kInfinity);
  EXPECT_EQ(x[8], 0.0f);
}

TEST(Exp, OfNonPositiveIsExactlyZeroFarDownAndKeepsNan) {
  const __m256 x = _mm256_setr_ps(-87.1f, -1e30f, -kInfinity, kNan, 0.0f, -0.0f, -86.9f, -1.0f);
  float y[8];
  Simd<float>::Store(y, ExpOfNonPositive(x));
  EXPECT_EQ(y[0], 0.0f);
  EXPECT_EQ(y[1], 0.0f);
  EXPECT_EQ(y[2], 0.0f);
  EXPECT_TRUE(std::isnan(y[3]));
  EXPECT_EQ(y[4], 1.0f);
  EXPECT_EQ(y[5], 1.0f);
  EXPECT_GT(y[6], 0.0f);
}

TEST(Log, IsWithinTwoUlpOverTheWholeRange) {
  for (const float x : FloatsOfAllSizes(2011)) {
    if (x < 0) continue;
    float y = x;
    LogInPlace(&y, 1);
    if (x == 0) {
      ASSERT_EQ(y, -kInfinity);
    } else if (std::isinf(x)) {
      ASSERT_EQ(y, kInfinity);
    } else {
      ASSERT_LE(UlpError(y, std::log(static_cast<double>(x))), 2.0) << x;
    }
  }
}

TEST(Log, IsWithinTwoUlpAroundOne) {
  for (uint32_t bits = 0x3f000000; bits < 0x3fc00000; bits += 7) {
    float y = FromBits(bits);
    LogInPlace(&y, 1);
    const double exact = std::log(static_cast<double>(FromBits(bits)));
    ASSERT_LE(UlpError(y, exact), 2.0) << FromBits(bits);
  }
}

TEST(Log, OfANegativeNumberOrNanIsNan) {
  std::vector<float> x = {-1.0f, -kInfinity, kNan, -1e-40f};
  LogInPlace(x.data(), static_cast<int64_t>(x.size()));
  for (const float y : x) EXPECT_TRUE(std::isnan(y));
}

template <typename T>
class SoftmaxTest : public testing::Test {};
using Scalars = testing::Types<float, double>;
TYPED_TEST_SUITE(SoftmaxTest, Scalars);

template <typename T>
std::vector<T> Logits(int n, double shift) {
  const CounterRandom random(3, RandomPurpose::kTest);
  std::vector<T> x(n);
  for (int i = 0; i < n; ++i) x[i] = static_cast<T>(shift + 5 * random.Normal(i));
  return x;
}

TYPED_TEST(SoftmaxTest, AgreesWithTheDefinitionForEveryLengthOfTail) {
  const double tolerance = sizeof(TypeParam) == 4 ? 2e-6 : 1e-14;
  for (const int n : {1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 64, 100, 4099}) {
    std::vector<TypeParam> x = Logits<TypeParam>(n, 0);
    double sum = 0;
    for (const TypeParam v : x) sum += std::exp(static_cast<double>(v));
    EXPECT_NEAR(LogSumExp(x.data(), n), std::log(sum), tolerance);
    std::vector<TypeParam> p = x;
    EXPECT_NEAR(SoftmaxInPlace(p.data(), n), std::log(sum), tolerance);
    for (int i = 0; i < n; ++i) {
      const double want = std::exp(static_cast<double>(x[i])) / sum;
      EXPECT_NEAR(p[i], want, tolerance * want) << n << " " << i;
    }
  }
}

TYPED_TEST(SoftmaxTest, SurvivesLogitsThatOverflowAnExponential) {
  std::vector<TypeParam> x = Logits<TypeParam>(37, 5000);
  EXPECT_NEAR(LogSumExp(x.data(), 37), 5000 + LogSumExp(Logits<double>(37, 0).data(), 37), 1e-3);
  SoftmaxInPlace(x.data(), 37);
  double sum = 0;
  for (const TypeParam v : x) sum += v;
  EXPECT_NEAR(sum, 1, 1e-6);
}

TYPED_TEST(SoftmaxTest, ShowsANanWhereverItStands) {
  for (const int at : {0, 1, 8, 15, 16, 18}) {
    std::vector<TypeParam> x = Logits<TypeParam>(19, 0);
    x[at] = std::numeric_limits<TypeParam>::quiet_NaN();
    EXPECT_TRUE(std::isnan(LogSumExp(x.data(), 19))) << at;
  }
}

}  // namespace
}  // namespace saffron
