#include "core/solve/calibrate.h"

#include <Eigen/Cholesky>
#include <algorithm>
#include <cmath>

namespace saffron {
namespace {

// The step that the damped quadratic model likes best among those that keep gains >= floor:
//   min_s  s'(H + ridge I)s / 2 - downhill's   subject to   gains + s >= floor,
// by cyclic coordinate descent (each coordinate to its constrained optimum; Hildreth, "A quadratic
// programming procedure", 1957). Clipping an unconstrained step instead can go uphill where keys
// are nearly collinear.
Eigen::VectorXd NewtonStep(const GainLoss& at, const std::vector<double>& gains, double floor,
                           double damping) {
  const int n = static_cast<int>(gains.size());
  constexpr int kSweepsMax = 5000;
  const double ridge = damping * at.curvature.trace() / n + 1e-12;
  Eigen::VectorXd step = Eigen::VectorXd::Zero(n);
  Eigen::VectorXd slope = at.downhill;  // downhill - (H + ridge I) step
  for (int sweep = 0; sweep < kSweepsMax; ++sweep) {
    double moved = 0;
    for (int k = 0; k < n; ++k) {
      const double free = step[k] + slope[k] / (at.curvature(k, k) + ridge);
      const double change = std::max(free, floor - gains[k]) - step[k];
      if (change == 0) continue;
      step[k] += change;
      slope -= change * at.curvature.col(k);
      slope[k] -= change * ridge;
      moved = std::max(moved, std::abs(change));
    }
    if (moved < 1e-10) break;
  }
  return step;
}

// What the quadratic model at `at` promises the loss will fall by, going from `from` to `to`.
double PromisedDecrease(const GainLoss& at, const std::vector<double>& from,
                        const std::vector<double>& to) {
  Eigen::VectorXd moved(static_cast<int>(from.size()));
  for (size_t k = 0; k < from.size(); ++k) moved[k] = to[k] - from[k];
  return at.downhill.dot(moved) - 0.5 * moved.dot(at.curvature * moved);
}

std::vector<double> Moved(const std::vector<double>& gains, const Eigen::VectorXd& step,
                          double scale, double floor) {
  std::vector<double> moved = gains;
  for (size_t k = 0; k < moved.size(); ++k) {
    moved[k] = std::max(floor, moved[k] + scale * step[k]);  // max: only rounding crosses the floor
  }
  return moved;
}

constexpr double kFirstDamping = 0.01;

}  // namespace

Calibration Calibrate(const std::function<GainLoss(const std::vector<double>&)>& objective,
                      std::vector<double> start, const CalibrationOptions& options) {
  Calibration best = {.gains = std::move(start)};
  for (double& gain : best.gains) gain = std::max(gain, options.floor);
  GainLoss at = objective(best.gains);
  best.loss = at.loss;
  best.evaluations = 1;
  // Undamped steps have been seen to run away where keys are nearly collinear; damping that falls
  // as steps succeed keeps the last ones quadratic.
  double damping = kFirstDamping;
  for (int iteration = 0; iteration < options.steps_max; ++iteration) {
    const Eigen::VectorXd step = NewtonStep(at, best.gains, options.floor, damping);
    const double enough = options.tolerance * std::abs(best.loss);
    bool fell = false;
    for (double scale = 1; scale > 1e-3 && !fell; scale /= 2) {
      std::vector<double> trial = Moved(best.gains, step, scale, options.floor);
      if (PromisedDecrease(at, best.gains, trial) < enough) return best;
      GainLoss there = objective(trial);
      ++best.evaluations;
      if (!(there.loss < best.loss)) continue;  // also when it is not a number
      fell = true;
      best.loss = there.loss;
      best.gains = std::move(trial);
      at = std::move(there);
      damping *= scale == 1 ? 0.2 : 1;
    }
    if (!fell) break;
  }
  return best;
}

Calibration CalibrateOnce(const std::function<GainLoss(const std::vector<double>&)>& objective,
                          std::vector<double> start, const CalibrationOptions& options) {
  for (double& gain : start) gain = std::max(gain, options.floor);
  const GainLoss at = objective(start);
  const Eigen::VectorXd step = NewtonStep(at, start, options.floor, kFirstDamping);
  std::vector<double> gains = Moved(start, step, 1, options.floor);
  const double promised = PromisedDecrease(at, start, gains);
  return {.gains = std::move(gains), .loss = at.loss - promised, .evaluations = 1};
}

}  // namespace saffron
