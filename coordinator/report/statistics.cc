#include "coordinator/report/statistics.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

namespace saffron {
namespace {

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

// Rank of each value, 1 the smallest; ties share the mean of their ranks.
std::vector<double> Ranks(const std::vector<double>& values) {
  std::vector<int> order(values.size());
  std::iota(order.begin(), order.end(), 0);
  std::sort(order.begin(), order.end(), [&](int a, int b) { return values[a] < values[b]; });
  std::vector<double> ranks(values.size());
  for (size_t i = 0; i < order.size();) {
    size_t end = i + 1;
    while (end < order.size() && values[order[end]] == values[order[i]]) ++end;
    const double mean_rank = 0.5 * static_cast<double>(i + 1 + end);
    for (; i < end; ++i) ranks[order[i]] = mean_rank;
  }
  return ranks;
}

// Regularised incomplete beta function I_x(a, b), 0 <= x <= 1, by its continued fraction
// (Abramowitz & Stegun 26.5.8), evaluated after Lentz, "Generating Bessel functions in Mie
// scattering calculations using continued fractions", 1976.
double IncompleteBeta(double x, double a, double b) {
  if (x <= 0) return 0;
  if (x >= 1) return 1;
  if (x > (a + 1) / (a + b + 2)) return 1 - IncompleteBeta(1 - x, b, a);  // converges fast below
  constexpr double kTiny = 1e-300;
  const auto away_from_zero = [](double v) { return std::abs(v) < kTiny ? kTiny : v; };
  double d = 1 / away_from_zero(1 - (a + b) * x / (a + 1)), c = 1, fraction = d;
  for (int m = 1; m < 500; ++m) {
    const double even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m));
    const double odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1));
    double factor = 1;
    for (const double term : {even, odd}) {
      d = 1 / away_from_zero(1 + term * d);
      c = away_from_zero(1 + term / c);
      factor = c * d;
      fraction *= factor;
    }
    if (std::abs(factor - 1) < 1e-15) break;
  }
  const double log_front =
      std::lgamma(a + b) - std::lgamma(a) - std::lgamma(b) + a * std::log(x) + b * std::log1p(-x);
  return std::exp(log_front) * fraction / a;
}

}  // namespace

double Median(std::vector<double> values) {
  if (values.empty()) return kNaN;
  std::sort(values.begin(), values.end());
  const size_t middle = values.size() / 2;
  return values.size() % 2 ? values[middle] : 0.5 * (values[middle - 1] + values[middle]);
}

double SignTest(int wins, int losses) {
  const int n = wins + losses, fewer = std::min(wins, losses);
  // Terms C(n, k) / 2^n, in logarithms: n may be thousands.
  double tail = 0, log_term = -n * std::log(2.0);
  for (int k = 0; k <= fewer; ++k) {
    tail += std::exp(log_term);
    log_term += std::log(static_cast<double>(n - k)) - std::log(static_cast<double>(k + 1));
  }
  return std::min(1.0, 2 * tail);
}

double RankCorrelation(const std::vector<double>& a, const std::vector<double>& b) {
  if (a.size() < 3) return kNaN;
  const std::vector<double> x = Ranks(a), y = Ranks(b);
  const double mean = 0.5 * static_cast<double>(a.size() + 1);
  double xy = 0, xx = 0, yy = 0;
  for (size_t i = 0; i < x.size(); ++i) {
    xy += (x[i] - mean) * (y[i] - mean);
    xx += (x[i] - mean) * (x[i] - mean);
    yy += (y[i] - mean) * (y[i] - mean);
  }
  return xx > 0 && yy > 0 ? xy / std::sqrt(xx * yy) : kNaN;
}

std::vector<int> ParetoFront(const std::vector<Point>& points) {
  std::vector<int> order(points.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](int a, int b) {
    if (points[a].size != points[b].size) return points[a].size < points[b].size;
    return points[a].value < points[b].value;
  });
  std::vector<int> front;
  for (const int i : order) {
    if (front.empty() || points[i].value < points[front.back()].value) front.push_back(i);
  }
  return front;
}

Summary Summarize(const std::vector<double>& values) {
  Summary summary{.n = static_cast<int>(values.size()), .mean = kNaN, .sd = kNaN};
  if (values.empty()) return summary;
  summary.mean = std::accumulate(values.begin(), values.end(), 0.0) / summary.n;
  if (summary.n > 1) {
    double squares = 0;
    for (const double v : values) squares += (v - summary.mean) * (v - summary.mean);
    summary.sd = std::sqrt(squares / (summary.n - 1));
  }
  return summary;
}

double StudentTwoSided(double t, double freedom) {
  return IncompleteBeta(freedom / (freedom + t * t), 0.5 * freedom, 0.5);
}

double StudentQuantile(double p, double freedom) {
  double low = 0, high = 1;
  while (StudentTwoSided(high, freedom) > p) high *= 2;
  for (int i = 0; i < 100; ++i) {
    const double middle = 0.5 * (low + high);
    (StudentTwoSided(middle, freedom) > p ? low : high) = middle;
  }
  return 0.5 * (low + high);
}

Interval MeanInterval(const Summary& values) {
  if (values.n < 2) return {kNaN, kNaN};
  const double half =
      StudentQuantile(0.05, values.n - 1) * values.sd / std::sqrt(static_cast<double>(values.n));
  return {values.mean - half, values.mean + half};
}

double WelchTest(const Summary& a, const Summary& b) {
  if (a.n < 1 || b.n < 1 || (a.n < 2 && b.n < 2)) return kNaN;
  double variance = 0, freedom = 0;  // of the difference of the means
  if (a.n > 1 && b.n > 1) {
    const double of_a = a.sd * a.sd / a.n, of_b = b.sd * b.sd / b.n;
    variance = of_a + of_b;
    freedom = variance * variance / (of_a * of_a / (a.n - 1) + of_b * of_b / (b.n - 1));
  } else {
    const Summary& many = a.n > 1 ? a : b;
    variance = many.sd * many.sd * (1 + 1.0 / many.n);
    freedom = many.n - 1;
  }
  if (!(variance > 0)) return a.mean == b.mean ? 1 : 0;
  return StudentTwoSided((a.mean - b.mean) / std::sqrt(variance), freedom);
}

}  // namespace saffron
