#pragma once
// The prior of everything else: p_i = (n_i + 1/2) / sum.

#include <cstdint>
#include <vector>

#include "absl/types/span.h"

namespace saffron {

// log((n_i + 1/2) / sum_j (n_j + 1/2)): never the logarithm of a zero.
std::vector<double> SmoothedLogPrior(const std::vector<int64_t>& counts);

struct UnigramModel {
  std::vector<double> log_p;  // [N]

  // Ids outside [0, vocab) are our mistake.
  static UnigramModel Fit(absl::Span<const int32_t> train, int vocab);
  // -log p of stream[first], ..., in nats.
  std::vector<double> Nats(absl::Span<const int32_t> stream, int first) const;
  int64_t parameters() const { return static_cast<int64_t>(log_p.size()); }
};

}  // namespace saffron
