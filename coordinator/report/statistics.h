#pragma once
// The statistics of reports: small, exact, without dependencies.

#include <vector>

namespace saffron {

// Middle value; mean of the two middle ones for an even count; NaN when empty.
double Median(std::vector<double> values);

// Probability, under a fair coin, of a split at least as uneven as wins:losses (two-sided sign
// test, exact binomial; ties are left out by the caller). 1 when there is nothing to count.
double SignTest(int wins, int losses);

// Spearman's rank correlation with mean ranks for ties; NaN for fewer than three points or when one
// side does not vary. a and b are equally long.
double RankCorrelation(const std::vector<double>& a, const std::vector<double>& b);

struct Point {
  double size = 0;   // smaller is better
  double value = 0;  // smaller is better
};
// Indices of the points that no other point beats: none has both size and value at most as large
// and one of them smaller. By ascending size; of points equal in both the first counts.
std::vector<int> ParetoFront(const std::vector<Point>& points);

// Mean and sample standard deviation (NaN for n < 2), added up in the order given.
struct Summary {
  int n = 0;
  double mean = 0, sd = 0;
};
Summary Summarize(const std::vector<double>& values);

// Probability of means at least as far apart if both came from one mean: Welch's two-sided t test
// (Welch, "The generalization of 'Student's' problem when several different population variances
// are involved", Biometrika 1947; degrees of freedom after Satterthwaite, 1946). A side of one
// value is taken to spread as the other does. NaN when neither side has two values.
double WelchTest(const Summary& a, const Summary& b);

// P(|T| > |t|) for Student's t with `freedom` > 0 degrees of freedom.
double StudentTwoSided(double t, double freedom);
// The t >= 0 with P(|T| > t) = p, 0 < p < 1: 12.71 for p = 0.05 and one degree of freedom.
double StudentQuantile(double p, double freedom);

// Where the mean that the values came from lies, with 95 % confidence, by Student's t (their spread
// taken to be normal). NaN for n < 2.
struct Interval {
  double low = 0, high = 0;
};
Interval MeanInterval(const Summary& values);

}  // namespace saffron
