#include "core/optim/lbfgs.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "absl/strings/str_cat.h"
#include "core/base/check.h"
#include "core/math/aligned_array.h"

namespace saffron {
namespace {

using Array = AlignedArray<double>;

// In a fixed order.
double Dot(const double* a, const double* b, int64_t n) {
  constexpr int kSums = 8;
  double sum[kSums] = {};
  int64_t i = 0;
  for (; i + kSums <= n; i += kSums) {
    for (int k = 0; k < kSums; ++k) sum[k] += a[i + k] * b[i + k];
  }
  for (int k = 0; i < n; ++i, ++k) sum[k] += a[i] * b[i];
  double total = 0;
  for (const double s : sum) total += s;
  return total;
}

void AddScaled(double factor, const double* a, double* to, int64_t n) {
  for (int64_t i = 0; i < n; ++i) to[i] += factor * a[i];
}

// A point of the line search: step, value there, slope along the direction.
struct Point {
  double step = 0, value = 0, slope = 0;
};

// Where the cubic through both points with both slopes is least, kept well inside (a, b); the
// middle where there is no such cubic. Nocedal & Wright, equation 3.59.
double Interpolate(const Point& a, const Point& b) {
  const double lo = std::min(a.step, b.step), hi = std::max(a.step, b.step);
  const double middle = 0.5 * (lo + hi), margin = 0.1 * (hi - lo);
  const double d1 = a.slope + b.slope - 3 * (a.value - b.value) / (a.step - b.step);
  const double square = d1 * d1 - a.slope * b.slope;
  if (!(square >= 0)) return middle;
  const double d2 = std::copysign(std::sqrt(square), b.step - a.step);
  const double step =
      b.step - (b.step - a.step) * (b.slope + d2 - d1) / (b.slope - a.slope + 2 * d2);
  if (!std::isfinite(step)) return middle;
  return std::clamp(step, lo + margin, hi - margin);
}

class Search {
 public:
  Search(const SmoothFunction& function, absl::Span<double> x, const LbfgsOptions& options)
      : function_(function),
        options_(options),
        n_(static_cast<int64_t>(x.size())),
        x_(x.data()),
        g_(n_),
        trial_x_(n_),
        trial_g_(n_),
        direction_(n_),
        steps_(options.history * n_),
        changes_(options.history * n_),
        inverse_dots_(options.history),
        alphas_(options.history) {}

  bool ok() const {
    return g_.ok() && trial_x_.ok() && trial_g_.ok() && direction_.ok() && steps_.ok() &&
           changes_.ok();
  }

  absl::StatusOr<LbfgsReport> Run() {
    double value = Evaluate(x_, g_.data());
    report_.start = report_.value = value;
    report_.gradient_norm = Norm(g_.data());
    if (!std::isfinite(value) || !std::isfinite(report_.gradient_norm)) {
      return absl::InvalidArgumentError(absl::StrCat("the function is ", value,
                                                     " at the start, with a gradient of length ",
                                                     report_.gradient_norm));
    }
    for (int64_t iteration = 1; iteration <= options_.iterations_max; ++iteration) {
      if (report_.gradient_norm <= options_.gradient_tolerance * std::max(1.0, Norm(x_))) {
        report_.end = LbfgsEnd::kConverged;
        return report_;
      }
      if (!Iterate(value)) {
        report_.end = LbfgsEnd::kNoDescent;
        return report_;
      }
      report_.iterations = iteration;
      report_.value = value;
      report_.gradient_norm = Norm(g_.data());
      if (options_.go_on && !options_.go_on(iteration, value)) {
        report_.end = LbfgsEnd::kStopped;
        return report_;
      }
    }
    return report_;
  }

 private:
  double Norm(const double* a) const { return std::sqrt(Dot(a, a, n_)); }
  double* Step(int64_t i) { return steps_.data() + i % options_.history * n_; }
  double* Change(int64_t i) { return changes_.data() + i % options_.history * n_; }

  double Evaluate(const double* x, double* g) {
    ++report_.evaluations;
    return function_(absl::MakeConstSpan(x, static_cast<size_t>(n_)),
                     absl::MakeSpan(g, static_cast<size_t>(n_)));
  }

  // The value and slope at x + step direction; leaves the point in trial_x_, trial_g_.
  Point At(double step) {
    for (int64_t i = 0; i < n_; ++i) trial_x_[i] = x_[i] + step * direction_[i];
    const double value = Evaluate(trial_x_.data(), trial_g_.data());
    return {step, value, Dot(trial_g_.data(), direction_.data(), n_)};
  }

  // direction = - H g. Nocedal & Wright, algorithm 7.4.
  void FindDirection() {
    double* d = direction_.data();
    for (int64_t i = 0; i < n_; ++i) d[i] = -g_[i];
    const int64_t oldest = std::max<int64_t>(0, pairs_ - options_.history);
    for (int64_t i = pairs_ - 1; i >= oldest; --i) {
      const int64_t at = i % options_.history;
      alphas_[at] = inverse_dots_[at] * Dot(Step(i), d, n_);
      AddScaled(-alphas_[at], Change(i), d, n_);
    }
    if (pairs_ > 0) {
      const double* y = Change(pairs_ - 1);
      const double scale = 1 / (inverse_dots_[(pairs_ - 1) % options_.history] * Dot(y, y, n_));
      for (int64_t i = 0; i < n_; ++i) d[i] *= scale;
    }
    for (int64_t i = oldest; i < pairs_; ++i) {
      const int64_t at = i % options_.history;
      const double beta = inverse_dots_[at] * Dot(Change(i), d, n_);
      AddScaled(alphas_[at] - beta, Step(i), d, n_);
    }
  }

  // One step down, from `value`; false when there is none.
  bool Iterate(double& value) {
    FindDirection();
    double slope = Dot(g_.data(), direction_.data(), n_);
    if (!(slope < 0)) {  // rounding has spoilt the curvature: begin again
      pairs_ = 0;
      FindDirection();
      slope = Dot(g_.data(), direction_.data(), n_);
    }
    const double first = pairs_ == 0 ? std::min(1.0, 1 / report_.gradient_norm) : 1.0;
    const Point start = {0, value, slope};
    const Point found = LineSearch(start, first);
    if (!(found.step > 0) || !(found.value < value)) {
      if (pairs_ == 0) return false;
      pairs_ = 0;  // once more, downhill
      return Iterate(value);
    }
    Accept();
    value = found.value;
    return true;
  }

  void Accept() {
    double *s = Step(pairs_), *y = Change(pairs_);
    for (int64_t i = 0; i < n_; ++i) {
      s[i] = trial_x_[i] - x_[i];
      y[i] = trial_g_[i] - g_[i];
      x_[i] = trial_x_[i];
      g_[i] = trial_g_[i];
    }
    const double dot = Dot(s, y, n_);
    // The Wolfe conditions make this positive, up to rounding; without curvature begin again.
    if (!(dot > 0)) {
      pairs_ = 0;
      return;
    }
    inverse_dots_[pairs_++ % options_.history] = 1 / dot;
  }

  bool Decreases(const Point& start, const Point& p) const {
    return p.value <= start.value + options_.sufficient_decrease * p.step * start.slope;
  }
  bool Flat(const Point& start, const Point& p) const {
    return std::abs(p.slope) <= -options_.curvature * start.slope;
  }

  // Algorithm 3.5: grows the step until it brackets a good one. Returns the point that trial_x_
  // holds; its step is 0 when none was found.
  Point LineSearch(const Point& start, double first) {
    Point before = start;
    double step = first;
    for (int i = 1; i <= options_.line_search_max; ++i) {
      const Point p = At(step);
      if (!std::isfinite(p.value) || !std::isfinite(p.slope)) {
        step = 0.5 * (before.step + step);
        continue;
      }
      if (!Decreases(start, p) || (i > 1 && p.value >= before.value)) {
        return Zoom(start, before, p, i);
      }
      if (Flat(start, p)) return p;
      if (p.slope >= 0) return Zoom(start, p, before, i);
      before = p;
      step *= 2;
    }
    return Settle(start, before);
  }

  // Algorithm 3.6: `low` is the best point so far, and a good one lies between it and `high`.
  Point Zoom(const Point& start, Point low, Point high, int done) {
    for (int i = done; i < options_.line_search_max; ++i) {
      const Point p = At(Interpolate(low, high));
      if (!(Decreases(start, p) && p.value < low.value)) {
        high = p;
      } else {
        if (Flat(start, p)) return p;
        if (p.slope * (high.step - low.step) >= 0) high = low;
        low = p;
      }
      if (std::abs(high.step - low.step) < 1e-12 * std::max(1.0, low.step)) break;
    }
    return Settle(start, low);
  }

  // The best point of a search that ran out, put back into trial_x_.
  Point Settle(const Point& start, const Point& best) {
    if (!(best.step > 0) || !(best.value < start.value)) return {};
    return At(best.step);
  }

  const SmoothFunction& function_;
  const LbfgsOptions& options_;
  const int64_t n_;
  double* const x_;
  Array g_, trial_x_, trial_g_, direction_;
  Array steps_, changes_;  // [history, n], as rings
  std::vector<double> inverse_dots_, alphas_;
  int64_t pairs_ = 0;  // ever kept
  LbfgsReport report_;
};

}  // namespace

absl::StatusOr<LbfgsReport> MinimizeLbfgs(const SmoothFunction& function, absl::Span<double> x,
                                          const LbfgsOptions& options) {
  CHECK(!x.empty() && options.history >= 1 && options.line_search_max >= 1);
  Search search(function, x, options);
  if (!search.ok()) {
    return absl::ResourceExhaustedError(absl::StrCat(
        "no memory for ", options.history, " curvature pairs of ", x.size(), " parameters"));
  }
  return search.Run();
}

}  // namespace saffron
