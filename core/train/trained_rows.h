#pragma once
// The evidence of a log-linear model as parameters of backpropagation: every stored R_h[i] gets a
// correction d_h[i], zero at first,
//
//   z = z_evidence + sum_k lambda_k d_k[h_k, i]   over the entries that a position's rows have,
//   dL/d d_k[h, i] = lambda_k (p_i - y_i), summed over the targets of context h, over their number.
//
// Gains stay as they were fitted. Targets are left out of the counts that they are trained on, and
// an entry that rests on the target alone is not there to be trained. That keeps what is learnt
// about one entry from its neighbours in the softmax apart from what was counted, but leaving out
// is unbiased only for parameters that many entries share: summed over a text, the gradient of a
// single entry draws one seen once down and one seen more often up, towards the text's own
// frequencies. So few and small steps help; many would learn the text by heart.

#include <cstdint>
#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "core/log_linear/evidence_logits.h"
#include "core/train/trained_part.h"

namespace saffron {

// A tensor "rows.LAGS" for each key, [1, entries]. They decay towards the solution.
class TrainedRows : public TrainedPart {
 public:
  // RESOURCE_EXHAUSTED when there is no memory.
  static absl::StatusOr<std::unique_ptr<TrainedPart>> Create(LogLinearModel& model,
                                                             absl::Span<const int32_t> train);

  double LossAndGradient(absl::Span<const int64_t> examples) override;
  std::vector<double> Nats(absl::Span<const int32_t> stream, absl::Span<const int64_t> targets,
                           Counted counted) override;
  ParameterArena<float>& arena() override { return arena_; }
  int64_t parameters() const override { return static_cast<int64_t>(arena_.parameters().size()); }

 private:
  TrainedRows(const LogLinearModel& model, absl::Span<const int32_t> train);
  // Adds the corrections of these rows to z[V].
  void Correct(absl::Span<const EvidenceRow<float>> rows, float* z) const;

  const LogLinearModel& model_;
  const absl::Span<const int32_t> train_;
  EvidenceLogits<float> left_out_;
  std::vector<int64_t> begin_;  // by node: of its tensor; -1: it has none
  ParameterArena<float> arena_;
  std::vector<int64_t> targets_;
};

}  // namespace saffron
