#pragma once
// Absolute discounts of Kneser-Ney smoothing, from counts of counts (Chen & Goodman, "An empirical
// study of smoothing techniques for language modeling", 1999, section 3.3).

#include <algorithm>
#include <array>
#include <cstdint>

#include "absl/types/span.h"

namespace saffron {

enum class Discounts : uint8_t {
  kSingle,    // D = n1 / (n1 + 2 n2) for every count
  kModified,  // D1, D2, D3+ for counts 1, 2, 3 and more
};

// D by min(count, 3), from `counts` of one length of n-gram; zeros among them are ignored. Where a
// count of counts is zero and a formula undefined, the single discount stands in; every discount
// stays in [0.01, count], that of 0 is 0.
std::array<double, 4> EstimateDiscounts(absl::Span<const int32_t> counts, Discounts kind);

inline double DiscountOf(const std::array<double, 4>& discounts, int32_t count) {
  return discounts[std::min(count, 3)];
}

}  // namespace saffron
