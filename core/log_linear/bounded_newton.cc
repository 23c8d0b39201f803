#include "core/log_linear/bounded_newton.h"

#include <Eigen/Cholesky>
#include <vector>

#include "core/base/check.h"

namespace saffron {
namespace {

struct Point {
  Vector<double> x, gradient;
  double value = 0;  // with the prior's term
  double nats = 0;   // without
};

Point Look(const BoundedProblem& problem, Vector<double> x, Matrix<double>* hessian) {
  GainLoss loss = problem.at(x, hessian != nullptr);
  const Vector<double> off = x - problem.prior;
  if (hessian != nullptr) {
    *hessian = std::move(loss.hessian);
    hessian->diagonal().array() += problem.prior_weight;
  }
  return {.x = std::move(x),
          .gradient = loss.gradient + problem.prior_weight * off,
          .value = loss.nats + problem.prior_weight / 2 * off.squaredNorm(),
          .nats = loss.nats};
}

// The step to the minimum of the quadratic model, of the coordinates that no bound holds; zero
// elsewhere.
Vector<double> StepOf(const BoundedProblem& problem, const Point& point,
                      const Matrix<double>& hessian) {
  std::vector<int> free;
  for (int i = 0; i < point.x.size(); ++i) {
    const bool is_held = (point.x[i] <= problem.min && point.gradient[i] > 0) ||
                         (point.x[i] >= problem.max && point.gradient[i] < 0);
    if (!is_held) free.push_back(i);
  }
  const Matrix<double> of_free = hessian(free, free);
  const Vector<double> gradient = point.gradient(free);
  const Eigen::LLT<Matrix<double>> cholesky(of_free);
  CHECK(cholesky.info() == Eigen::Success) << "curvature is not positive definite";
  const Vector<double> step = cholesky.solve(-gradient);
  Vector<double> all = Vector<double>::Zero(point.x.size());
  for (size_t i = 0; i < free.size(); ++i) all[free[i]] = step[i];
  return all;
}

// Makes the model's curvature along a step what the gradients at its ends say.
void Learn(const Point& from, const Point& to, Matrix<double>* hessian) {
  const Vector<double> s = to.x - from.x, y = to.gradient - from.gradient;
  const Vector<double> hs = *hessian * s;
  const double shs = s.dot(hs), ys = y.dot(s);
  // Convex, so ys > 0 but for rounding.
  if (!(ys > 1e-6 * shs)) return;
  hessian->noalias() += y * (y.transpose() / ys) - hs * (hs.transpose() / shs);
}

}  // namespace

BoundedMinimum Minimize(const BoundedProblem& problem, Vector<double> start) {
  const auto into_box = [&problem](const Vector<double>& x) -> Vector<double> {
    return x.cwiseMax(problem.min).cwiseMin(problem.max);
  };
  Matrix<double> hessian;
  Point best = Look(problem, into_box(start), &hessian);
  int evaluations = 1;
  for (int step = 0; step < problem.steps_max; ++step) {
    const Vector<double> direction = StepOf(problem, best, hessian);
    if (-0.5 * best.gradient.dot(direction) < problem.tolerance) break;
    bool is_better = false;
    for (double length = 1; length > 1e-3 && !is_better; length /= 2) {
      Point next = Look(problem, into_box(best.x + length * direction), nullptr);
      ++evaluations;
      Learn(best, next, &hessian);
      is_better = next.value < best.value;
      if (is_better) best = std::move(next);
    }
    if (!is_better) break;
  }
  return {.x = best.x, .value = best.value, .nats = best.nats, .evaluations = evaluations};
}

}  // namespace saffron
