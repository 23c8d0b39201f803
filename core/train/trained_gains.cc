#include "core/log_linear/gain_objective.h"
#include "core/train/trained_solution.h"

namespace saffron {
namespace {

class Gains : public TrainedSolution {
 public:
  Gains(LogLinearModel& model, absl::Span<const int32_t> train)
      : model_(model), objective_(model.shape(), model.tables(), train, {}, Counted::kLeftOut) {}

  absl::Status Start() {
    RETURN_IF_ERROR(
        Allocate({{.name = "gains", .rows = 1, .cols = model_.shape().gains}}, /*decay=*/false));
    std::copy(model_.gains().begin(), model_.gains().end(), arena_.parameters().begin());
    return absl::OkStatus();
  }

  double LossAndGradient(absl::Span<const int64_t> examples) override {
    const absl::Span<const int64_t> targets = Ascending(examples);
    const double size = static_cast<double>(targets.size());
    objective_.SetTargets({targets.begin(), targets.end()});
    const std::vector<double> gains = Values();
    const GainLoss loss =
        objective_.At(Eigen::Map<const Vector<double>>(gains.data(), gains.size()), 0);
    for (size_t g = 0; g < gains.size(); ++g) {
      arena_.gradients()[g] = static_cast<float>(loss.gradient[g] / size);
    }
    return loss.nats / size;
  }

  std::vector<double> Nats(absl::Span<const int32_t> stream, absl::Span<const int64_t> targets,
                           Counted counted) override {
    model_.set_gains(Values());
    return model_.Nats(stream, targets, counted);
  }

 private:
  std::vector<double> Values() { return {arena_.parameters().begin(), arena_.parameters().end()}; }

  LogLinearModel& model_;
  GainObjective<float> objective_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<TrainedPart>> TrainedGains(LogLinearModel& model,
                                                          absl::Span<const int32_t> train) {
  auto gains = std::make_unique<Gains>(model, train);
  RETURN_IF_ERROR(gains->Start());
  return gains;
}

}  // namespace saffron
