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

// Of one expert of a layer. What is said of its tokens is said of those whose first choice it is.
struct ExpertSummary {
  int64_t chosen = 0, dropped = 0;  // taken choices that name it; those that found no slot
  int64_t first = 0;                // tokens whose first choice it is
  double load = 0;                  // share of the taken choices, times experts
  double drop_rate = 0;             // of the choices that name it; 0 where there are none
  double probability = 0;           // mean over all tokens of what the router gives it
  double entropy = 0;               // as the layer's, mean over its tokens
  // KL(P(token | its first choices) || P(token)), nats, over the layer's sample, and the same
  // shuffled. Weighed by the share of first choices they add up to the layer's information.
  double information = 0, information_shuffled = 0;
};

// One choice of one token that the router took.
struct RoutedChoice {
  int64_t row = 0;       // of the token, in the order in which tokens were added
  int64_t position = 0;  // in its sequence
  int32_t token = 0;
  int32_t choice = 0, expert = 0;  // 0: its first choice
  double gate = 0;
  bool kept = false;  // it found a slot
};

// Not thread-safe. Adds up in the order of the calls.
class LayerRouting {
 public:
  static constexpr int64_t kInformationSample = 1 << 16;
  static constexpr int64_t kTraceTokens = 1 << 10;

  // tokens[routing.rows]: their ids, below 2^31. Every call must have the same number of experts.
  void Add(const MoeRoutingView& routing, absl::Span<const int32_t> tokens);
  // At least one token was added.
  RoutingSummary Summary() const;
  // Of every expert, likewise.
  std::vector<ExpertSummary> Experts() const;
  // Of the first kTraceTokens tokens.
  const std::vector<RoutedChoice>& trace() const { return trace_; }
  int64_t rows() const { return rows_; }

 private:
  void Trace(const MoeRoutingView& routing, int64_t row, int32_t token);
  std::vector<int32_t> ShuffledExperts() const;

  struct Sums {  // of an expert
    int64_t chosen = 0, dropped = 0, first = 0;
    double probability = 0, entropy = 0;
  };
  int64_t rows_ = 0, taken_ = 0, dropped_ = 0, unserved_ = 0;
  std::vector<Sums> of_;  // of each expert
  double entropy_ = 0, z_ = 0;
  std::vector<RoutedChoice> trace_;
  std::vector<int32_t> tokens_, experts_;  // the sample
};

// I(a; b) in nats of pairs (a[i], b[i]) as they are counted; a, b >= 0, b < classes.
double MutualInformation(absl::Span<const int32_t> a, absl::Span<const int32_t> b, int classes);

// The part of every value of b in it: KL(P(a | b) || P(a)) in nats, [classes]; 0 of values that do
// not occur.
std::vector<double> Divergences(absl::Span<const int32_t> a, absl::Span<const int32_t> b,
                                int classes);

}  // namespace saffron
