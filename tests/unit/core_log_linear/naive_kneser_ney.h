#pragma once
// Kneser-Ney as its definition reads, from maps and loops, for tests to compare with.

#include <array>
#include <cstdint>
#include <map>
#include <set>
#include <vector>

#include "absl/types/span.h"
#include "core/solve/discounts.h"

namespace saffron {

// Contexts are lists of tokens, the youngest first. Counts are of every target but `without`.
class NaiveKneserNey {
 public:
  using Context = std::vector<int32_t>;

  // A chain of n-grams up to `order`, and raw templates; discounts and P_1 as given.
  NaiveKneserNey(absl::Span<const int32_t> stream, int order, int64_t without)
      : stream_(stream), order_(order), without_(without) {}

  // c_(h,i) by i of a chain's level of `size` tokens: raw at the top, continuations below.
  std::map<int32_t, int> ChainCounts(const Context& h, int size) const {
    std::map<int32_t, int> raw;
    std::map<int32_t, std::set<int32_t>> longer;
    for (int64_t t = size; t < static_cast<int64_t>(stream_.size()); ++t) {
      if (t == without_ || !Matches(h, t)) continue;
      ++raw[stream_[t]];
      if (t > size) longer[stream_[t]].insert(stream_[t - size - 1]);
    }
    if (size == order_ - 1) return raw;
    std::map<int32_t, int> continuations;
    for (const auto& [i, before] : longer) continuations[i] = static_cast<int>(before.size());
    return continuations;
  }

  // P(i|h) of a level, given its discounts and the probability below.
  static double Interpolate(const std::map<int32_t, int>& counts, int32_t i, double below,
                            const std::array<double, 4>& discounts) {
    double total = 0, backoff = 0;
    for (const auto& [j, c] : counts) {
      total += c;
      backoff += DiscountOf(discounts, c);
    }
    if (total == 0) return below;
    const auto it = counts.find(i);
    const double kept = it == counts.end() ? 0 : it->second - DiscountOf(discounts, it->second);
    return (kept + backoff * below) / total;
  }

 private:
  bool Matches(const Context& h, int64_t t) const {
    for (size_t k = 0; k < h.size(); ++k) {
      if (stream_[t - 1 - static_cast<int64_t>(k)] != h[k]) return false;
    }
    return true;
  }

  absl::Span<const int32_t> stream_;
  int order_;
  int64_t without_;
};

}  // namespace saffron
