#include "core/train/trained_dense.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/base/status_macros.h"

namespace saffron {

TrainedDense::TrainedDense(LogLinearModel& model, absl::Span<const int32_t> train)
    : model_(model),
      objective_(model.shape(), model.gains(), train, Counted::kLeftOut, &model.mutable_tables()) {}

absl::StatusOr<std::unique_ptr<TrainedPart>> TrainedDense::Create(LogLinearModel& model,
                                                                  absl::Span<const int32_t> train) {
  std::unique_ptr<TrainedDense> made(new TrainedDense(model, train));
  const int64_t size = made->objective_.size();
  ASSIGN_OR_RETURN(made->arena_,
                   ParameterArena<float>::Create({.parameters = size, .gradients = size}));
  ParameterArena<float>& arena = made->arena_;
  arena.segments().push_back(
      {.begin = 0, .size = size, .gradient = arena.gradients().data(), .decay = true});
  int64_t begin = 0;
  for (const KeySpec& key : model.tables().dense.keys) {
    arena.tensors().push_back({.name = absl::StrCat("dense.", KeyName(key)),
                               .begin = begin,
                               .rows = key.dim,
                               .cols = model.tables().vocab(),
                               .role = TensorRole::kReadout});
    begin += arena.tensors().back().size();
  }
  return made;
}

double TrainedDense::LossAndGradient(absl::Span<const int64_t> examples) {
  targets_.assign(examples.begin(), examples.end());
  std::sort(targets_.begin(), targets_.end());
  objective_.Set(arena_.parameters());
  return objective_.At(targets_, arena_.gradients());
}

std::vector<double> TrainedDense::Nats(absl::Span<const int32_t> stream,
                                       absl::Span<const int64_t> targets, Counted counted) {
  objective_.Set(arena_.parameters());
  return model_.Nats(stream, targets, counted);
}

}  // namespace saffron
