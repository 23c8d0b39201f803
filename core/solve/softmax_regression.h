#pragma once
// The explicit solution of softmax regression on non-negative dense features (pixels):
//   z = log p + g x R,   R_jc = log((F_jc + a s_c) / ((F_j. + a) s_c)),   F = x'y,
// with p_c the share of examples and s_c = S_c / S, S_c = sum_j F_jc, the share of feature mass of
// class c. The K-norm formula U_jc = log F_jc - (K-1)/K log S_c (Williams & Zhao, arXiv:2311.07498)
// assumes rows of one norm K, where s = p; pixels have none, so the prior is a bias of its own.

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "core/math/matrix.h"
#include "core/solve/gains.h"

namespace saffron {

struct SoftmaxRegressionSolution {
  Matrix<float> u;          // [pixels, classes], the gain folded in
  std::vector<float> bias;  // [classes], log p
  double gain = 1;          // g
  double holdout_nats = 0;
};

// x[n, pixels] >= 0 finite, y[n] in [0, classes). The gain is fitted to, or measured on, every
// tenth example, left out of the counts until then. kKnorm: g = 1. kGeometric: g = 1 / mean row sum
// (the evidence of all pixels averaged). kCalibrated: g maximises hold-out likelihood.
// INVALID_ARGUMENT for negative or non-finite features, labels out of range, or fewer than 10
// examples.
absl::StatusOr<SoftmaxRegressionSolution> SolveSoftmaxRegression(ConstMatrixRef<float> x,
                                                                 const std::vector<int32_t>& y,
                                                                 int classes, GainMode gains);

}  // namespace saffron
