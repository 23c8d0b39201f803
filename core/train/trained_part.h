#pragma once
// What steps train of a log-linear trial: a part of the solved model, or a network beside it. One
// class each; log_linear_trial.cc lists them by name.

#include <cstdint>
#include <vector>

#include "absl/types/span.h"
#include "core/log_linear/log_linear_model.h"
#include "core/math/parameter_arena.h"

namespace saffron {

// Made with the model and the stream that it counts, which must outlive it. Not thread-safe.
class TrainedPart {
 public:
  virtual ~TrainedPart() = default;

  // Mean loss of the targets that `examples` stand for, left out of the counts; its gradient is
  // left in arena().
  virtual double LossAndGradient(absl::Span<const int64_t> examples) = 0;
  // -log P of ascending targets, with the present parameters.
  virtual std::vector<double> Nats(absl::Span<const int32_t> stream,
                                   absl::Span<const int64_t> targets, Counted counted) = 0;
  virtual ParameterArena<float>& arena() = 0;
  virtual int64_t parameters() const = 0;  // that are trained
};

}  // namespace saffron
