// Every piece against the numbers of a public implementation, in double and in float.

#include "compare.h"
#include "core/transformer/activation.h"
#include "core/transformer/cross_entropy.h"
#include "core/transformer/normalization.h"
#include "core/transformer/rotary.h"
#include "core/transformer/transformer_shape.h"
#include "fixture.h"
#include "gtest/gtest.h"

namespace saffron {
namespace {

template <typename T>
class ReferenceTest : public testing::Test {
 protected:
  static void CheckNorm(const std::string& name, NormKind kind) {
    const Fixture f(name);
    const int64_t n = f.Shape("x").back(), rows = f.Shape("x")[0];
    OwnedRows<T> x(rows, n, f.Data("x")), y(rows, n), dy(rows, n, f.Data("G")), dx(rows, n);
    const std::vector<T> gain = f.Data<T>("w.weight");
    const bool centred = kind == NormKind::kLayer;
    const std::vector<T> bias = centred ? f.Data<T>("w.bias") : std::vector<T>{};
    std::vector<T> scale(rows), mean(rows), dgain(n), dbias(n);
    const NormWeights<T> w{kind, 1e-5, gain.data(), centred ? bias.data() : nullptr};
    NormForward(rows, n, w, x.view(), y.view(), {scale.data(), mean.data()});
    NormBackward(rows, n, w, x.view(), {scale.data(), mean.data()}, dy.view(), dx.view(),
                 dgain.data(), centred ? dbias.data() : nullptr);
    EXPECT_LE(RelativeError(y.Values(), f.Data("out")), Tolerance<T>());
    EXPECT_LE(RelativeError(dx.Values(), f.Data("gx")), Tolerance<T>());
    EXPECT_LE(RelativeError(dgain, f.Data("g.weight")), Tolerance<T>());
    if (centred) {
      EXPECT_LE(RelativeError(dbias, f.Data("g.bias")), Tolerance<T>());
    }
  }
};
using Numbers = testing::Types<float, double>;
TYPED_TEST_SUITE(ReferenceTest, Numbers);

TYPED_TEST(ReferenceTest, RmsNormIsThatOfLlama2) {
  TestFixture::CheckNorm("rmsnorm_eps1e-5", NormKind::kRms);
}

TYPED_TEST(ReferenceTest, LayerNormIsThatOfTorch) {
  TestFixture::CheckNorm("layernorm_eps1e-5", NormKind::kLayer);
}

TYPED_TEST(ReferenceTest, ActivationsAndTheirSlopesAreThoseOfTorch) {
  using T = TypeParam;
  const Fixture f("activations");
  const std::vector<T> x = f.Data<T>("x");
  const int64_t n = static_cast<int64_t>(x.size());
  for (const auto& [name, activation] : {std::pair{"relu", Activation::kRelu},
                                         {"gelu", Activation::kGelu},
                                         {"gelu_tanh", Activation::kGeluTanh},
                                         {"silu", Activation::kSilu}}) {
    std::vector<T> y(n), slope(n);
    Activate<T>(activation, n, x.data(), y.data(), slope.data());
    const double tolerance = sizeof(T) == 8 ? 1e-10 : 2e-6;
    EXPECT_LE(RelativeError(y, f.Data(name)), tolerance) << name;
    EXPECT_LE(RelativeError(slope, f.Data(std::string("d_") + name)), tolerance) << name;
  }
}

TYPED_TEST(ReferenceTest, RotaryPositionsAreThoseOfAPublicLibraryAndTurnBack) {
  using T = TypeParam;
  const Fixture f("rotary_lucidrains");
  const auto shape = f.Shape("q");  // [batch, heads, length, dim]
  const int64_t length = shape[2], dim = shape[3], rows = shape[0] * shape[1] * length;
  OwnedRows<T> q(rows, dim, f.Data("q"));
  std::vector<T> table(length * dim);
  FillRotaryTable<T>(RopeFrequencies(static_cast<int>(dim)), static_cast<int>(length),
                     table.data());
  Rotate<T>(rows, length, 1, dim / 2, table.data(), q.view());
  EXPECT_LE(RelativeError(q.Values(), f.Data("out")), Tolerance<T>());
  RotateBack<T>(rows, length, 1, dim / 2, table.data(), q.view());
  EXPECT_LE(RelativeError(q.Values(), f.Data("q")), Tolerance<T>());
}

TYPED_TEST(ReferenceTest, SmoothedCrossEntropyIsThatOfTorch) {
  using T = TypeParam;
  const Fixture f("ce_label_smoothing");
  const auto shape = f.Shape("z");
  const std::vector<int32_t> y = f.Data<int32_t>("y");
  for (const char* smoothing : {"0.0", "0.1", "0.3"}) {
    OwnedRows<T> z(shape[0], shape[1], f.Data("z"));
    const double loss = CrossEntropyGradient(shape[0], shape[1], y.data(), std::stod(smoothing),
                                             1.0 / static_cast<double>(shape[0]), z.view()) /
                        static_cast<double>(shape[0]);
    const double want = f.Data(std::string("loss_") + smoothing)[0];
    EXPECT_NEAR(loss, want, Tolerance<T>() * want) << smoothing;
    EXPECT_LE(RelativeError(z.Values(), f.Data(std::string("g_") + smoothing)), Tolerance<T>())
        << smoothing;
  }
}

TEST(AlibiTest, SlopesAreThoseOfThePapersCodeForEveryNumberOfHeads) {
  const Fixture f("alibi_slopes");
  const auto& slopes = f.json().at("slopes");
  ASSERT_EQ(slopes.size(), 16u);
  for (const auto& [heads, want] : slopes.items()) {
    const std::vector<double> got = AlibiSlopes(std::stoi(heads));
    ASSERT_EQ(got.size(), want.size()) << heads;
    EXPECT_LE(RelativeError(got, want.get<std::vector<double>>()), 1e-10) << heads;
  }
}

// Over the whole range, and for odd lengths: float against double.
TEST(ActivationTest, FloatIsWithinItsStatedErrorOfDoubleEverywhere) {
  std::vector<double> x;
  for (double v = -30; v <= 30; v += 0.00097) x.push_back(static_cast<float>(v));
  const std::vector<float> single(x.begin(), x.end());
  const int64_t n = static_cast<int64_t>(x.size());
  for (const Activation activation :
       {Activation::kRelu, Activation::kGelu, Activation::kGeluTanh, Activation::kSilu}) {
    std::vector<double> want(n), want_slope(n);
    std::vector<float> got(n), got_slope(n);
    Activate<double>(activation, n, x.data(), want.data(), want_slope.data());
    Activate<float>(activation, n, single.data(), got.data(), got_slope.data());
    double error = 0, slope_error = 0;
    for (int64_t i = 0; i < n; ++i) {
      const double size = std::max(1.0, std::abs(x[i]));
      error = std::max(error, std::abs(got[i] - want[i]) / size);
      slope_error = std::max(slope_error, std::abs(got_slope[i] - want_slope[i]) / size);
    }
    EXPECT_LE(error, 2e-7) << static_cast<int>(activation);
    EXPECT_LE(slope_error, 4e-7) << static_cast<int>(activation);
  }
}

}  // namespace
}  // namespace saffron
