#pragma once
// Kneser-Ney mixed linearly with what the document has said: the control for log-linear models that
// read histories.
//
//   P(i) = w_0 P_KN(i) + sum_k w_k c_ki / n_k,  w found by expectation maximisation on the hold-out
//   (Jelinek & Mercer, "Interpolated estimation of Markov source parameters from sparse data",
//   1980), apart for each set of histories that are not empty.

#include <cstdint>
#include <map>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "core/data/data_store.h"
#include "core/log_linear/log_linear_model.h"
#include "core/solve/statistics_cache.h"

namespace saffron {

class HistoryMixture {
 public:
  // Reads order, discounts, histories and window of `spec`. Errors of LogLinearModel::Solve.
  static absl::StatusOr<HistoryMixture> Fit(const LogLinearSpec& spec, const TextDataset& data,
                                            StatisticsCache& cache);

  // -log P(stream[t] | what precedes it) of ascending targets, in nats. Thread-safe.
  std::vector<double> Nats(absl::Span<const int32_t> stream,
                           absl::Span<const int64_t> targets) const;
  // Of the n-grams, then of the histories in the order of the specification; they sum to one. By
  // which of these are not empty, as bits.
  const std::map<uint32_t, std::vector<double>>& weights() const { return weights_; }
  int64_t parameters() const { return ngrams_.parameters(); }

 private:
  explicit HistoryMixture(LogLinearModel ngrams) : ngrams_(std::move(ngrams)) {}

  LogLinearModel ngrams_;
  std::vector<HistoryKind> histories_;
  int window_ = 0;
  std::map<uint32_t, std::vector<double>> weights_;
};

}  // namespace saffron
