#include "core/optim/lbfgs.h"

#include <gtest/gtest.h>

#include <Eigen/Dense>
#include <cmath>
#include <limits>

#include "core/base/random.h"

namespace saffron {
namespace {

using Vec = Eigen::VectorXd;
using ConstVec = Eigen::Map<const Vec>;

ConstVec In(absl::Span<const double> x) { return {x.data(), static_cast<Eigen::Index>(x.size())}; }
Eigen::Map<Vec> Out(absl::Span<double> x) {
  return {x.data(), static_cast<Eigen::Index>(x.size())};
}

double Rosenbrock(absl::Span<const double> x, absl::Span<double> g) {
  double f = 0;
  std::fill(g.begin(), g.end(), 0.0);
  for (size_t i = 0; i + 1 < x.size(); ++i) {
    const double a = x[i + 1] - x[i] * x[i], b = 1 - x[i];
    f += 100 * a * a + b * b;
    g[i] += -400 * x[i] * a - 2 * b;
    g[i + 1] += 200 * a;
  }
  return f;
}

// Softmax regression of 3 classes on 40 examples of 6 features, with a little ridge: convex.
struct Regression {
  static constexpr int kExamples = 40, kFeatures = 6, kClasses = 3;
  Eigen::MatrixXd h = Eigen::MatrixXd(kExamples, kFeatures);
  std::vector<int> y = std::vector<int>(kExamples);

  Regression() {
    const CounterRandom random(3, RandomPurpose::kTest);
    for (int i = 0; i < h.size(); ++i) h.data()[i] = random.Normal(i);
    for (int i = 0; i < kExamples; ++i) y[i] = static_cast<int>(random.Below(1000 + i, kClasses));
  }
  double operator()(absl::Span<const double> x, absl::Span<double> g) const {
    const Eigen::Map<const Eigen::MatrixXd> w(x.data(), kFeatures, kClasses);
    Eigen::MatrixXd z = h * w;
    double loss = 0.005 * w.squaredNorm();
    for (int i = 0; i < kExamples; ++i) {
      const double top = z.row(i).maxCoeff();
      const double sum = (z.row(i).array() - top).exp().sum();
      loss += (top + std::log(sum) - z(i, y[i])) / kExamples;
      z.row(i) = (z.row(i).array() - top).exp() / sum;
      z(i, y[i]) -= 1;
    }
    Eigen::Map<Eigen::MatrixXd>(g.data(), kFeatures, kClasses) =
        h.transpose() * z / kExamples + 0.01 * w;
    return loss;
  }
};

TEST(Lbfgs, SolvesAQuadraticInAFewIterations) {
  constexpr int kSize = 8;
  Eigen::MatrixXd a = Eigen::MatrixXd::Identity(kSize, kSize);
  for (int i = 0; i < kSize; ++i) a(i, i) = 1 + i;
  const Vec b = Vec::LinSpaced(kSize, -1, 2);
  std::vector<double> x(kSize, 0.0);
  const auto report = MinimizeLbfgs(
      [&](absl::Span<const double> x, absl::Span<double> g) {
        Out(g) = a * In(x) - b;
        return 0.5 * In(x).dot(a * In(x)) - b.dot(In(x));
      },
      absl::MakeSpan(x), {.gradient_tolerance = 1e-6});
  ASSERT_TRUE(report.ok()) << report.status();
  EXPECT_EQ(report->end, LbfgsEnd::kConverged);
  EXPECT_LE(report->iterations, 30);
  const Vec want = a.inverse() * b;
  for (int i = 0; i < kSize; ++i) EXPECT_NEAR(x[i], want[i], 1e-6);
}

TEST(Lbfgs, WalksTheBentValley) {
  std::vector<double> x = {-1.2, 1, -1.2, 1, 0, 3};
  const auto report = MinimizeLbfgs(Rosenbrock, absl::MakeSpan(x), {.iterations_max = 500});
  ASSERT_TRUE(report.ok());
  EXPECT_EQ(report->end, LbfgsEnd::kConverged);
  for (const double xi : x) EXPECT_NEAR(xi, 1, 1e-7);
}

TEST(Lbfgs, AgreesWithLongGradientDescentOnAConvexReadout) {
  const Regression regression;
  constexpr int kSize = Regression::kFeatures * Regression::kClasses;
  std::vector<double> x(kSize, 0.0), slow(kSize, 0.0), g(kSize);
  const auto report = MinimizeLbfgs(regression, absl::MakeSpan(x), {});
  ASSERT_TRUE(report.ok());
  EXPECT_EQ(report->end, LbfgsEnd::kConverged);
  for (int step = 0; step < 20000; ++step) {
    regression(slow, absl::MakeSpan(g));
    for (int i = 0; i < kSize; ++i) slow[i] -= 0.5 * g[i];
  }
  for (int i = 0; i < kSize; ++i) EXPECT_NEAR(x[i], slow[i], 1e-7) << i;
}

TEST(Lbfgs, NeverRises) {
  std::vector<double> x = {-1.2, 1, 5, -3};
  double last = std::numeric_limits<double>::infinity();
  LbfgsOptions options;
  options.go_on = [&](int64_t, double value) {
    EXPECT_LT(value, last);
    last = value;
    return true;
  };
  ASSERT_TRUE(MinimizeLbfgs(Rosenbrock, absl::MakeSpan(x), options).ok());
}

TEST(Lbfgs, StopsWhenToldAndWhenItsIterationsAreDone) {
  std::vector<double> x = {-1.2, 1};
  LbfgsOptions options;
  options.go_on = [](int64_t iteration, double) { return iteration < 3; };
  auto report = MinimizeLbfgs(Rosenbrock, absl::MakeSpan(x), options);
  EXPECT_EQ(report->end, LbfgsEnd::kStopped);
  EXPECT_EQ(report->iterations, 3);
  x = {-1.2, 1};
  report = MinimizeLbfgs(Rosenbrock, absl::MakeSpan(x), {.iterations_max = 2});
  EXPECT_EQ(report->end, LbfgsEnd::kIterationsMax);
  EXPECT_EQ(report->iterations, 2);
}

TEST(Lbfgs, StepsOverPlacesWhereTheFunctionIsNotANumber) {
  // -log(1 - x) - log(x) is defined on (0, 1) alone; its least is at 1/2.
  std::vector<double> x = {1e-3};
  const auto report = MinimizeLbfgs(
      [](absl::Span<const double> x, absl::Span<double> g) {
        g[0] = 1 / (1 - x[0]) - 1 / x[0];
        return -std::log(1 - x[0]) - std::log(x[0]);
      },
      absl::MakeSpan(x), {});
  ASSERT_TRUE(report.ok());
  EXPECT_NEAR(x[0], 0.5, 1e-8);
}

TEST(Lbfgs, EndsWhereThePrecisionOfTheFunctionEnds) {
  std::vector<double> x = {-1.2, 1};
  const auto report = MinimizeLbfgs(
      [](absl::Span<const double> x, absl::Span<double> g) {
        return static_cast<double>(static_cast<float>(1000 + Rosenbrock(x, g)));
      },
      absl::MakeSpan(x), {.gradient_tolerance = 0});
  ASSERT_TRUE(report.ok());
  EXPECT_EQ(report->end, LbfgsEnd::kNoDescent);
  EXPECT_NEAR(report->value, 1000, 0.01);
}

TEST(Lbfgs, AStartThatIsNotANumberIsRefused) {
  std::vector<double> x = {1.0};
  const auto report = MinimizeLbfgs(
      [](absl::Span<const double>, absl::Span<double> g) {
        g[0] = 0;
        return std::nan("");
      },
      absl::MakeSpan(x), {});
  EXPECT_EQ(report.status().code(), absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace saffron
