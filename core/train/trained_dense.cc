#include "absl/strings/str_cat.h"
#include "core/log_linear/dense_objective.h"
#include "core/train/trained_solution.h"

namespace saffron {
namespace {

class Dense : public TrainedSolution {
 public:
  Dense(LogLinearModel& model, absl::Span<const int32_t> train)
      : model_(model),
        objective_(model.shape(), model.gains(), train, Counted::kLeftOut,
                   &model.mutable_tables()) {}

  absl::Status Start() {
    std::vector<ParameterTensor> tensors;
    for (const KeySpec& key : model_.tables().dense.keys) {
      tensors.push_back({.name = absl::StrCat("dense.", KeyName(key)),
                         .rows = key.dim,
                         .cols = model_.tables().vocab(),
                         .role = TensorRole::kReadout});
    }
    return Allocate(std::move(tensors), /*decay=*/true);
  }

  double LossAndGradient(absl::Span<const int64_t> examples) override {
    objective_.Set(arena_.parameters());
    return objective_.At(Ascending(examples), arena_.gradients());
  }

  std::vector<double> Nats(absl::Span<const int32_t> stream, absl::Span<const int64_t> targets,
                           Counted counted) override {
    objective_.Set(arena_.parameters());
    return model_.Nats(stream, targets, counted);
  }

 private:
  const LogLinearModel& model_;
  DenseObjective<float> objective_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<TrainedPart>> TrainedDense(LogLinearModel& model,
                                                          absl::Span<const int32_t> train) {
  auto dense = std::make_unique<Dense>(model, train);
  RETURN_IF_ERROR(dense->Start());
  return dense;
}

}  // namespace saffron
