#pragma once
// The explicit softmax layer over one-hot context tokens (K lags), kept sparse.
//
// With one-hot keys the count matrix of lag k is F(j,i), and absolute discounting smooths it:
//   P_k(i|j) = (max(F - d, 0) + d T_j p_i) / F_j,   R_k = log(P_k / p),   z = log p + sum_k
//   lambda_k R_k.
// An unseen pair has R = log(d T_j / F_j), a constant of the row, which the softmax ignores: only
// the residual log(1 + (F-d) / (d T_j p_i)) of the seen pairs is stored.

#include <cstdint>
#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "core/data/data_store.h"
#include "core/solve/calibrate.h"
#include "core/solve/count_table.h"
#include "core/solve/gains.h"
#include "core/solve/statistics_cache.h"

namespace saffron {

struct OneHotSpec {
  int context = 4;  // K
  GainMode gains = GainMode::kCalibrated;
  double discount = 0.75;  // d, in (0, 1)
};

// Residual evidence of one lag: row j holds the seen next tokens, by ascending id.
struct EvidenceTable {
  std::vector<int32_t> begin;  // [V + 1]
  std::vector<int32_t> next;   // [non-zeros]
  std::vector<float> value;    // [non-zeros], > 0
};

class OneHotModel {
 public:
  // Counts leave out the hold-out while kCalibrated fits its gains on it and holdout_nats() is
  // measured; then they take it in, in every mode, so that modes differ in nothing else.
  // INVALID_ARGUMENT for context < 1 or a stream of fewer than 64 tokens.
  static absl::StatusOr<OneHotModel> Solve(const OneHotSpec& spec, const TextDataset& data,
                                           StatisticsCache& cache);

  // -log softmax(z)[stream[t]] for t = first, ..., in nats. Thread-safe.
  std::vector<double> Nats(absl::Span<const int32_t> stream, int first) const;
  // The same for t in `positions`.
  std::vector<double> Nats(absl::Span<const int32_t> stream,
                           absl::Span<const int64_t> positions) const;

  int context() const { return static_cast<int>(tables_.size()); }
  int vocab() const { return static_cast<int>(log_p_.size()); }
  const std::vector<double>& gains() const { return gains_; }
  void set_gains(std::vector<double> gains);  // one a lag, finite
  double holdout_nats() const { return holdout_nats_; }
  // Stored evidence, the prior and the gains.
  int64_t parameters() const;
  const std::vector<std::shared_ptr<const EvidenceTable>>& tables() const { return tables_; }
  const std::vector<double>& log_p() const { return log_p_; }

 private:
  class Row;

  OneHotModel() = default;
  void SetEvidence(const std::vector<CountTable>& counts, double discount);
  // Nats and derivatives over hold-out targets of `stream`, as in holdout_loss.h.
  GainLoss HoldoutLoss(absl::Span<const int32_t> stream, const std::vector<int32_t>& targets,
                       const std::vector<double>& gains) const;

  std::vector<double> log_p_;  // [V]
  int32_t padding_ = 0;        // <eod>: stands before the start of a stream
  std::vector<std::shared_ptr<const EvidenceTable>> tables_;  // [K], lag 1 first
  std::vector<double> gains_;                                 // [K]
  double holdout_nats_ = 0;
};

}  // namespace saffron
