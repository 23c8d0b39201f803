#pragma once
// Gradient and curvature of the gains' objective against finite differences.

#include <cmath>
#include <vector>

#include "core/log_linear/gain_objective.h"
#include "core/log_linear/log_linear_shape.h"
#include "gtest/gtest.h"

namespace saffron {

// At the prior, by every gain; `tolerance` of the gradient is relative to 1 + |it|. The gains along
// which the objective bends enough for that to say something are added to `bent`.
template <typename Objective>
void ExpectDerivatives(Objective& objective, const LogLinearShape& shape, double step,
                       double tolerance, std::vector<int>* bent) {
  const Vector<double> x = Eigen::Map<const Vector<double>>(shape.prior.data(), shape.gains);
  const GainLoss at = objective.At(x, 1);
  for (int g = 0; g < shape.gains; ++g) {
    Vector<double> more = x, less = x;
    more[g] += step;
    less[g] -= step;
    const GainLoss up = objective.At(more, 0), down = objective.At(less, 0);
    ASSERT_NEAR(at.gradient[g], (up.nats - down.nats) / (2 * step),
                tolerance * (1 + std::abs(at.gradient[g])))
        << shape.names[g];
    const double curvature = (up.gradient[g] - down.gradient[g]) / (2 * step);
    ASSERT_NEAR(at.hessian(g, g), curvature, 0.02 * curvature + 0.02) << shape.names[g];
    if (curvature > 0.1) bent->push_back(g);
  }
}

}  // namespace saffron
