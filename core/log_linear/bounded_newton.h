#pragma once
// A quasi-Newton method for a smooth convex function in a box: projected steps (Bertsekas,
// "Projected Newton methods for optimization problems with simple constraints", 1982) from a
// curvature that is measured once and then kept up by Broyden, Fletcher, Goldfarb and Shanno's
// formula.

#include <functional>

#include "core/log_linear/gain_objective.h"
#include "core/math/matrix.h"

namespace saffron {

struct BoundedProblem {
  // Value and gradient at a point; with about the second derivatives where they are asked for.
  std::function<GainLoss(const Vector<double>&, bool with_hessian)> at;
  double min = 0, max = 0;  // of every coordinate
  // Adds prior_weight / 2 |x - prior|^2.
  Vector<double> prior;
  double prior_weight = 1;  // > 0
  // Done when a step promises to lower the value by less than this.
  double tolerance = 0;
  int steps_max = 50;
};

struct BoundedMinimum {
  Vector<double> x;
  double value = 0;  // with the prior's term
  double nats = 0;   // without
  int evaluations = 0;
};

// From `start`, moved into the box. The same bits on every run.
BoundedMinimum Minimize(const BoundedProblem& problem, Vector<double> start);

}  // namespace saffron
