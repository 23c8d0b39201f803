#pragma once
// The gains of a log-linear model as an optimiser's parameters.

#include <cstdint>
#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "core/log_linear/gain_objective.h"
#include "core/train/trained_part.h"

namespace saffron {

// One tensor "gains". They do not decay.
class TrainedGains : public TrainedPart {
 public:
  // Nats() leaves the trained gains in the model. RESOURCE_EXHAUSTED when there is no memory.
  static absl::StatusOr<std::unique_ptr<TrainedPart>> Create(LogLinearModel& model,
                                                             absl::Span<const int32_t> train);

  double LossAndGradient(absl::Span<const int64_t> examples) override;
  std::vector<double> Nats(absl::Span<const int32_t> stream, absl::Span<const int64_t> targets,
                           Counted counted) override;
  ParameterArena<float>& arena() override { return arena_; }
  int64_t parameters() const override { return static_cast<int64_t>(arena_.parameters().size()); }

 private:
  TrainedGains(LogLinearModel& model, absl::Span<const int32_t> train);
  std::vector<double> Gains() { return {arena_.parameters().begin(), arena_.parameters().end()}; }

  LogLinearModel& model_;
  GainObjective<float> objective_;
  ParameterArena<float> arena_;
};

}  // namespace saffron
