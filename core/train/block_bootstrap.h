#pragma once
// How sure a difference between two models on one text is. Losses of neighbouring tokens are not
// independent, so blocks of them are drawn again, not tokens (Künsch, "The jackknife and the
// bootstrap for general stationary observations", 1989).

#include <cstdint>

#include "absl/types/span.h"

namespace saffron {

struct Interval {
  double mean = 0, low = 0, high = 0;  // 95 %
};

// Of the mean of differences[i], in order of the text. The same interval every time. At least one
// difference.
Interval BlockBootstrap(absl::Span<const double> differences, int64_t block = 500);

}  // namespace saffron
