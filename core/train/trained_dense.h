#pragma once
// The dense tables of a log-linear model as parameters of backpropagation: what is added to each
// (core/log_linear/dense_objective.h), zero at first. Gains stay as they were fitted.

#include <cstdint>
#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "core/log_linear/dense_objective.h"
#include "core/train/trained_part.h"

namespace saffron {

// A tensor "dense.KEY" for each key (dense.x1, dense.c1, dense.r), [bits, V]. They decay towards
// the solution. No memory is allocated by steps.
class TrainedDense : public TrainedPart {
 public:
  // Of a model with dense keys, whose tables are changed; it must not be used without this
  // afterwards. RESOURCE_EXHAUSTED when there is no memory.
  static absl::StatusOr<std::unique_ptr<TrainedPart>> Create(LogLinearModel& model,
                                                             absl::Span<const int32_t> train);

  double LossAndGradient(absl::Span<const int64_t> examples) override;
  std::vector<double> Nats(absl::Span<const int32_t> stream, absl::Span<const int64_t> targets,
                           Counted counted) override;
  ParameterArena<float>& arena() override { return arena_; }
  int64_t parameters() const override { return static_cast<int64_t>(arena_.parameters().size()); }

 private:
  TrainedDense(LogLinearModel& model, absl::Span<const int32_t> train);

  const LogLinearModel& model_;
  DenseObjective<float> objective_;
  ParameterArena<float> arena_;
  std::vector<int64_t> targets_;
};

}  // namespace saffron
