#include "core/train/trained_gains.h"

#include <algorithm>
#include <utility>

#include "core/base/status_macros.h"

namespace saffron {

TrainedGains::TrainedGains(LogLinearModel& model, absl::Span<const int32_t> train)
    : model_(model), objective_(model.shape(), model.tables(), train, {}, Counted::kLeftOut) {}

absl::StatusOr<std::unique_ptr<TrainedPart>> TrainedGains::Create(LogLinearModel& model,
                                                                  absl::Span<const int32_t> train) {
  std::unique_ptr<TrainedGains> made(new TrainedGains(model, train));
  const int64_t size = model.shape().gains;
  ASSIGN_OR_RETURN(made->arena_,
                   ParameterArena<float>::Create({.parameters = size, .gradients = size}));
  for (int64_t g = 0; g < size; ++g) {
    made->arena_.parameters()[g] = static_cast<float>(model.gains()[g]);
  }
  made->arena_.tensors().push_back({.name = "gains", .begin = 0, .rows = 1, .cols = size});
  made->arena_.segments().push_back(
      {.begin = 0, .size = size, .gradient = made->arena_.gradients().data()});
  return made;
}

double TrainedGains::LossAndGradient(absl::Span<const int64_t> examples) {
  std::vector<int32_t> targets(examples.begin(), examples.end());
  std::sort(targets.begin(), targets.end());
  const double size = static_cast<double>(targets.size());
  objective_.SetTargets(std::move(targets));
  const std::vector<double> gains = Gains();
  const GainLoss loss =
      objective_.At(Eigen::Map<const Vector<double>>(gains.data(), gains.size()), 0);
  for (size_t g = 0; g < gains.size(); ++g) {
    arena_.gradients()[g] = static_cast<float>(loss.gradient[g] / size);
  }
  return loss.nats / size;
}

std::vector<double> TrainedGains::Nats(absl::Span<const int32_t> stream,
                                       absl::Span<const int64_t> targets, Counted counted) {
  model_.set_gains(Gains());
  return model_.Nats(stream, targets, counted);
}

}  // namespace saffron
