#include "core/solve/unigram.h"

#include <cmath>

#include "core/base/check.h"

namespace saffron {

UnigramModel UnigramModel::Fit(absl::Span<const int32_t> train, int vocab) {
  std::vector<int64_t> counts(vocab);
  for (int32_t id : train) {
    CHECK(id >= 0 && id < vocab) << "id " << id << " of " << vocab;
    ++counts[id];
  }
  return {.log_p = SmoothedLogPrior(counts)};
}

std::vector<double> UnigramModel::Nats(absl::Span<const int32_t> stream, int first) const {
  std::vector<double> nats;
  nats.reserve(stream.size());
  for (size_t t = first; t < stream.size(); ++t) nats.push_back(-log_p[stream[t]]);
  return nats;
}

std::vector<double> SmoothedLogPrior(const std::vector<int64_t>& counts) {
  double total = 0.5 * static_cast<double>(counts.size());
  for (int64_t n : counts) total += static_cast<double>(n);
  std::vector<double> log_p;
  log_p.reserve(counts.size());
  for (int64_t n : counts) log_p.push_back(std::log((static_cast<double>(n) + 0.5) / total));
  return log_p;
}

}  // namespace saffron
