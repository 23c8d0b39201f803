#pragma once
// Limited-memory BFGS: minimises a smooth function of many variables from its gradients, in double.
// Nocedal & Wright, "Numerical optimization", 2nd edition: two-loop recursion, algorithm 7.4; line
// search for the strong Wolfe conditions, algorithms 3.5 and 3.6 with cubic interpolation.

#include <cstdint>
#include <functional>

#include "absl/status/statusor.h"
#include "absl/types/span.h"

namespace saffron {

// The value at x, and its gradient [x.size()].
using SmoothFunction =
    std::function<double(absl::Span<const double> x, absl::Span<double> gradient)>;

struct LbfgsOptions {
  int history = 10;  // pairs of steps and gradient changes that are kept; >= 1
  int64_t iterations_max = 100;
  int line_search_max = 20;                            // evaluations of one line search
  double sufficient_decrease = 1e-4, curvature = 0.9;  // c1 < c2 of the Wolfe conditions
  double gradient_tolerance = 1e-8;                    // ends where |g| <= this times max(1, |x|)
  // Asked after every iteration with its number from 1; false ends the search. May be null.
  std::function<bool(int64_t iteration, double value)> go_on = {};
};

enum class LbfgsEnd {
  kConverged,      // the gradient is short enough
  kNoDescent,      // no step satisfies the Wolfe conditions: the function's precision is exhausted
  kIterationsMax,  // options said so
  kStopped,        // go_on said so
};

struct LbfgsReport {
  LbfgsEnd end = LbfgsEnd::kIterationsMax;
  int64_t iterations = 0, evaluations = 0;
  double start = 0, value = 0;  // of the function
  double gradient_norm = 0;
};

// Leaves the best x found in `x`. The function never rises from one iteration to the next. Memory:
// 2 (history + 3) x.size() doubles. RESOURCE_EXHAUSTED when there is none; INVALID_ARGUMENT when
// the function is not finite at the start.
absl::StatusOr<LbfgsReport> MinimizeLbfgs(const SmoothFunction& function, absl::Span<double> x,
                                          const LbfgsOptions& options);

}  // namespace saffron
