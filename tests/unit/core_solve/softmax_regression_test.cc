#include "core/solve/softmax_regression.h"

#include <gtest/gtest.h>

#include <cmath>

#include "core/base/random.h"

namespace saffron {
namespace {

constexpr int kClasses = 3, kPixels = 20;

// Class c lights the pixels of its own third more often.
void MakeExamples(int n, Matrix<float>* x, std::vector<int32_t>* y) {
  const CounterRandom random(2, RandomPurpose::kTest);
  x->resize(n, kPixels);
  for (int i = 0; i < n; ++i) {
    y->push_back(static_cast<int32_t>(random.Below(i, kClasses)));
    for (int j = 0; j < kPixels; ++j) {
      const double u = random.Uniform((int64_t{1} << 32) + i * kPixels + j);
      (*x)(i, j) = static_cast<float>(j % kClasses == y->back() ? std::sqrt(u) : u * u);
    }
  }
}

double Accuracy(const SoftmaxRegressionSolution& s, const Matrix<float>& x,
                const std::vector<int32_t>& y) {
  int correct = 0;
  for (int64_t n = 0; n < x.rows(); ++n) {
    std::vector<double> z(s.bias.begin(), s.bias.end());
    for (int j = 0; j < kPixels; ++j) {
      for (int c = 0; c < kClasses; ++c) z[c] += x(n, j) * s.u(j, c);
    }
    correct += std::max_element(z.begin(), z.end()) - z.begin() == y[n];
  }
  return static_cast<double>(correct) / static_cast<double>(x.rows());
}

TEST(SolveSoftmaxRegression, ClassifiesInEveryGainModeAndCalibratesBest) {
  Matrix<float> x;
  std::vector<int32_t> y;
  MakeExamples(600, &x, &y);
  double best = 1e9;
  for (GainMode mode : {GainMode::kKnorm, GainMode::kGeometric, GainMode::kCalibrated}) {
    const auto solution = SolveSoftmaxRegression(x, y, kClasses, mode);
    ASSERT_TRUE(solution.ok()) << solution.status();
    EXPECT_GT(Accuracy(*solution, x, y), 0.9);
    if (mode == GainMode::kCalibrated) {
      EXPECT_LE(solution->holdout_nats, best + 1e-3);
    }
    best = std::min(best, solution->holdout_nats);
  }
}

TEST(SolveSoftmaxRegression, WeightsAreTheFormulaOverAllExamples) {
  Matrix<float> x;
  std::vector<int32_t> y;
  MakeExamples(50, &x, &y);
  const auto solution = SolveSoftmaxRegression(x, y, kClasses, GainMode::kKnorm);
  ASSERT_TRUE(solution.ok());
  EXPECT_EQ(solution->gain, 1);
  std::vector<double> p(kClasses, 0.5 / 51.5), mass(kClasses, 1);
  Matrix<double> f = Matrix<double>::Zero(kPixels, kClasses);
  double all = kClasses;
  for (int n = 0; n < 50; ++n) {
    p[y[n]] += 1 / 51.5;
    for (int j = 0; j < kPixels; ++j) {
      f(j, y[n]) += x(n, j);
      mass[y[n]] += x(n, j);
      all += x(n, j);
    }
  }
  for (int j = 0; j < kPixels; ++j) {
    const double total = f(j, 0) + f(j, 1) + f(j, 2);
    for (int c = 0; c < kClasses; ++c) {
      const double share = mass[c] / all;
      EXPECT_NEAR(solution->u(j, c), std::log((f(j, c) + share) / ((total + 1) * share)), 1e-5);
      EXPECT_NEAR(solution->bias[c], std::log(p[c]), 1e-6);
    }
  }
}

TEST(SolveSoftmaxRegression, RefusesWhatIsNotAPositiveFeatureOrALabel) {
  Matrix<float> x;
  std::vector<int32_t> y;
  MakeExamples(30, &x, &y);
  const auto code = [&] {
    return SolveSoftmaxRegression(x, y, kClasses, GainMode::kKnorm).status().code();
  };
  ASSERT_EQ(code(), absl::StatusCode::kOk);
  x(3, 4) = -0.1f;
  EXPECT_EQ(code(), absl::StatusCode::kInvalidArgument);
  x(3, 4) = NAN;
  EXPECT_EQ(code(), absl::StatusCode::kInvalidArgument);
  x(3, 4) = 0;
  y[7] = 3;
  EXPECT_EQ(code(), absl::StatusCode::kInvalidArgument);
  y.pop_back();
  EXPECT_EQ(code(), absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace saffron
