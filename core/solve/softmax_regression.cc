#include "core/solve/softmax_regression.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "core/base/status_macros.h"
#include "core/solve/calibrate.h"
#include "core/solve/unigram.h"

namespace saffron {
namespace {

// Every this-many-th example is held out of the counts.
constexpr int64_t kHoldEvery = 10;
// Prior mass of a pixel's counts, in examples at full brightness.
constexpr double kAlpha = 1;

absl::Status CheckExamples(const ConstMatrixRef<float>& x, const std::vector<int32_t>& y,
                           int classes) {
  if (x.rows() < kHoldEvery || x.rows() != static_cast<int64_t>(y.size())) {
    return absl::InvalidArgumentError(absl::StrCat("examples: want at least ", kHoldEvery,
                                                   ", each with a label, got ", x.rows(), " and ",
                                                   y.size(), " labels"));
  }
  for (int64_t n = 0; n < x.rows(); ++n) {
    if (y[n] < 0 || y[n] >= classes) {
      return absl::InvalidArgumentError(
          absl::StrCat("label of example ", n, ": want 0 to ", classes - 1, ", got ", y[n]));
    }
    for (int64_t j = 0; j < x.cols(); ++j) {
      if (!(x(n, j) >= 0 && std::isfinite(x(n, j)))) {
        return absl::InvalidArgumentError(
            absl::StrCat("feature ", j, " of example ", n, ": want a number >= 0, got ", x(n, j)));
      }
    }
  }
  return absl::OkStatus();
}

bool IsHeld(int64_t n) { return n % kHoldEvery == kHoldEvery - 1; }

std::vector<double> LogPrior(const std::vector<int32_t>& y, int classes, bool with_held) {
  std::vector<int64_t> counts(classes);
  for (size_t n = 0; n < y.size(); ++n) counts[y[n]] += with_held || !IsHeld(n);
  return SmoothedLogPrior(counts);
}

// R[pixels, classes] of all examples or of those not held out.
Matrix<double> Evidence(const ConstMatrixRef<float>& x, const std::vector<int32_t>& y, int classes,
                        bool with_held) {
  Matrix<double> f = Matrix<double>::Zero(classes, x.cols());
  for (int64_t n = 0; n < x.rows(); ++n) {
    if (with_held || !IsHeld(n)) f.row(y[n]) += x.row(n).cast<double>();
  }
  std::vector<double> share(classes);
  double mass = 0;
  for (int c = 0; c < classes; ++c) {
    share[c] = kAlpha;  // a class without a lit pixel still has a share
    for (int64_t j = 0; j < x.cols(); ++j) share[c] += f(c, j);
    mass += share[c];
  }
  for (double& s : share) s /= mass;
  Matrix<double> r(x.cols(), classes);
  for (int64_t j = 0; j < x.cols(); ++j) {
    double total = 0;
    for (int c = 0; c < classes; ++c) total += f(c, j);
    for (int c = 0; c < classes; ++c) {
      r(j, c) = std::log((f(c, j) + kAlpha * share[c]) / ((total + kAlpha) * share[c]));
    }
  }
  return r;
}

// Loss of the held-out examples as a function of the one gain. `evidence` is x R, [held, classes].
GainLoss LossAtGain(const Matrix<double>& evidence, const std::vector<int32_t>& y,
                    const std::vector<double>& log_p, double gain) {
  GainLoss out = {
      .loss = 0, .downhill = Eigen::VectorXd::Zero(1), .curvature = Eigen::MatrixXd::Zero(1, 1)};
  std::vector<double> z(log_p.size());
  for (int64_t n = 0; n < evidence.rows(); ++n) {
    double top = -1e300, sum = 0, mean = 0, square = 0;
    for (size_t c = 0; c < z.size(); ++c) {
      z[c] = log_p[c] + gain * evidence(n, c);
      top = std::max(top, z[c]);
    }
    for (size_t c = 0; c < z.size(); ++c) {
      const double e = std::exp(z[c] - top), r = evidence(n, c);
      sum += e;
      mean += e * r;
      square += e * r * r;
    }
    mean /= sum;
    out.loss += top + std::log(sum) - z[y[n]];
    out.downhill[0] += evidence(n, y[n]) - mean;
    out.curvature(0, 0) += square / sum - mean * mean;
  }
  return out;
}

}  // namespace

absl::StatusOr<SoftmaxRegressionSolution> SolveSoftmaxRegression(ConstMatrixRef<float> x,
                                                                 const std::vector<int32_t>& y,
                                                                 int classes, GainMode gains) {
  RETURN_IF_ERROR(CheckExamples(x, y, classes));
  std::vector<int64_t> held;
  std::vector<int32_t> held_y;
  double norm = 0;
  for (int64_t n = 0; n < x.rows(); ++n) {
    for (int64_t j = 0; j < x.cols(); ++j) norm += x(n, j) / static_cast<double>(x.rows());
    if (!IsHeld(n)) continue;
    held.push_back(n);
    held_y.push_back(y[n]);
  }
  std::vector<double> log_p = LogPrior(y, classes, /*with_held=*/false);
  Matrix<double> r = Evidence(x, y, classes, /*with_held=*/false);
  Matrix<double> evidence = Matrix<double>::Zero(static_cast<int64_t>(held.size()), classes);
  for (size_t i = 0; i < held.size(); ++i) {
    for (int64_t j = 0; j < x.cols(); ++j) evidence.row(i) += double{x(held[i], j)} * r.row(j);
  }
  const auto objective = [&](const std::vector<double>& g) {
    return LossAtGain(evidence, held_y, log_p, g[0]);
  };
  SoftmaxRegressionSolution solution;
  switch (gains) {
    case GainMode::kKnorm:
      solution.gain = 1;
      break;
    case GainMode::kGeometric:
      solution.gain = 1 / std::max(norm, 1.0);
      break;
    case GainMode::kCalibrated: {
      // The gain of averaged evidence is far below the floor that keeps keys alive.
      CalibrationOptions options;
      options.floor = 1e-4;
      solution.gain = Calibrate(objective, {1 / std::max(norm, 1.0)}, options).gains[0];
    }
  }
  solution.holdout_nats = objective({solution.gain}).loss / static_cast<double>(held.size());
  // The held-out examples have served: they are counted with the others.
  log_p = LogPrior(y, classes, /*with_held=*/true);
  r = Evidence(x, y, classes, /*with_held=*/true);
  solution.u = (solution.gain * r).cast<float>();
  solution.bias.assign(log_p.begin(), log_p.end());
  return solution;
}

}  // namespace saffron
