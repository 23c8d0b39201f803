#pragma once
// Parts of a solved log-linear model as parameters of an optimiser, one file each.

#include <algorithm>
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "core/base/status_macros.h"
#include "core/train/trained_part.h"

namespace saffron {

// A part whose parameters are tensors with a gradient each.
class TrainedSolution : public TrainedPart {
 public:
  ParameterArena<float>& arena() override { return arena_; }
  int64_t parameters() const override { return static_cast<int64_t>(arena_.parameters().size()); }

 protected:
  // Zeros for these tensors, one behind the other; `begin` is set here. All or none of them decay.
  // RESOURCE_EXHAUSTED when there is no memory.
  absl::Status Allocate(std::vector<ParameterTensor> tensors, bool decay) {
    int64_t size = 0;
    for (ParameterTensor& tensor : tensors) {
      tensor.begin = size;
      size += tensor.size();
    }
    ASSIGN_OR_RETURN(arena_,
                     ParameterArena<float>::Create({.parameters = size, .gradients = size}));
    arena_.tensors() = std::move(tensors);
    arena_.segments().push_back(
        {.begin = 0, .size = size, .gradient = arena_.gradients().data(), .decay = decay});
    return absl::OkStatus();
  }

  // A step's examples are targets. Good until the next call, which allocates no memory.
  absl::Span<const int64_t> Ascending(absl::Span<const int64_t> examples) {
    targets_.assign(examples.begin(), examples.end());
    std::sort(targets_.begin(), targets_.end());
    return targets_;
  }

  ParameterArena<float> arena_;

 private:
  std::vector<int64_t> targets_;
};

// Each of a model and the stream that it counts, which must outlive the part; errors are those of
// Allocate().

// One tensor "gains", as the model has them. They do not decay. Nats() leaves the trained gains in
// the model.
absl::StatusOr<std::unique_ptr<TrainedPart>> TrainedGains(LogLinearModel& model,
                                                          absl::Span<const int32_t> train);

// What is added to the stored evidence, zero at first: a tensor "rows.LAGS" for each key, [1,
// entries]. They decay towards the solution; gains stay as they were fitted.
absl::StatusOr<std::unique_ptr<TrainedPart>> TrainedRows(LogLinearModel& model,
                                                         absl::Span<const int32_t> train);

// What is added to the dense tables (core/log_linear/dense_objective.h), zero at first: a tensor
// "dense.KEY" for each key (dense.x1, dense.c1, dense.r), [bits, V]. They decay towards the
// solution; gains stay as they were fitted. The model has dense keys, and must not be used without
// this afterwards: its tables are changed. No memory is allocated by steps.
absl::StatusOr<std::unique_ptr<TrainedPart>> TrainedDense(LogLinearModel& model,
                                                          absl::Span<const int32_t> train);

}  // namespace saffron
