#pragma once
// Fitting the few numbers that counting cannot give: gains that maximise hold-out likelihood.

#include <Eigen/Core>
#include <functional>
#include <vector>

namespace saffron {

// Value and derivatives of a convex loss. Each field is a sum over hold-out tokens, in double, in a
// fixed order.
struct GainLoss {
  double loss = 0;            // sum of nats
  Eigen::VectorXd downhill;   // -d loss / d lambda: sum (r_k[y] - E r_k)
  Eigen::MatrixXd curvature;  // sum Cov(r_k, r_l), positive semi-definite
};

struct CalibrationOptions {
  double floor = 0.01;      // of every gain
  double tolerance = 2e-5;  // stop when a step lowers the loss by less than this share of it
  int steps_max = 50;
};

// Minimises `objective` from `start` over gains >= floor by Newton steps with a damped diagonal
// (Levenberg, "A method for the solution of certain non-linear problems in least squares", 1944),
// constrained to the floor, and halving until the loss falls. `start` is raised to the floor.
struct Calibration {
  std::vector<double> gains;
  double loss = 0;
  int evaluations = 0;
};
Calibration Calibrate(const std::function<GainLoss(const std::vector<double>&)>& objective,
                      std::vector<double> start, const CalibrationOptions& options = {});

// One evaluation at `start` and one Newton step taken on trust: its gains, and the loss that the
// quadratic model promises there. Enough to compare settings whose best gains are near each other.
Calibration CalibrateOnce(const std::function<GainLoss(const std::vector<double>&)>& objective,
                          std::vector<double> start, const CalibrationOptions& options = {});

}  // namespace saffron
