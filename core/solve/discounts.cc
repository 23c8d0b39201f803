#include "core/solve/discounts.h"

namespace saffron {

std::array<double, 4> EstimateDiscounts(absl::Span<const int32_t> counts, Discounts kind) {
  std::array<double, 5> n{};
  for (int32_t c : counts) {
    if (c >= 1 && c <= 4) n[c] += 1;
  }
  const double y = n[1] > 0 ? n[1] / (n[1] + 2 * n[2]) : 0.5;
  std::array<double, 4> d = {0, y, y, y};
  if (kind == Discounts::kModified) {
    for (int c = 1; c <= 3; ++c) {
      if (n[c] > 0) d[c] = std::clamp(c - (c + 1) * y * n[c + 1] / n[c], 0.01, double(c));
    }
  }
  return d;
}

}  // namespace saffron
