#pragma once
// How a model's routers spread tokens over experts: load, drops, certainty, and whether an expert
// knows its tokens by name. ST-MoE, section 7, asks the last; against a shuffled baseline, because
// the mutual information of a finite sample is above 0 even where there is none.

#include <cstdint>
#include <vector>

#include "absl/types/span.h"
#include "core/transformer/moe_layer.h"

namespace saffron {

// Of one layer.
struct RoutingSummary {
  double largest_load = 0;  // share of taken choices that name the busiest expert, times experts
  double drop_rate = 0;     // share of taken choices that found no slot
  double unserved = 0;      // share of tokens that no expert kept
  double entropy = 0;       // mean over tokens of that of the router's probabilities, nats
  double z = 0;             // mean of logsumexp squared
  // I(token; expert of its first choice), nats, over the first kInformationSample tokens, and the
  // same with the experts shuffled among them.
  double information = 0, information_shuffled = 0;
};

// Not thread-safe. Adds up in the order of the calls.
class LayerRouting {
 public:
  static constexpr int64_t kInformationSample = 1 << 16;

  // tokens[routing.rows]: their ids, below 2^31. Every call must have the same number of experts.
  void Add(const MoeRoutingView& routing, absl::Span<const int32_t> tokens);
  // At least one token was added.
  RoutingSummary Summary() const;

 private:
  int64_t rows_ = 0, taken_ = 0, dropped_ = 0, unserved_ = 0;
  std::vector<int64_t> load_;  // of each expert
  double entropy_ = 0, z_ = 0;
  std::vector<int32_t> tokens_, experts_;  // the sample
};

// I(a; b) in nats of pairs (a[i], b[i]) as they are counted; a, b >= 0, b < classes.
double MutualInformation(absl::Span<const int32_t> a, absl::Span<const int32_t> b, int classes);

}  // namespace saffron
