// model.type softmax_regression, model.input pixels: images, by the same explicit solution.

#include <algorithm>
#include <optional>
#include <vector>

#include "core/base/status_macros.h"
#include "core/layers/softmax_regression.h"
#include "core/solve/softmax_regression.h"
#include "core/train/backprop.h"
#include "core/train/pixel_task.h"
#include "core/train/solve_choices.h"
#include "core/train/trial_families.h"

namespace saffron {
namespace {

class PixelTrial : public TrialModel, public Trainable {
 public:
  absl::Status Load(const TrialInputs& inputs) override {
    ASSIGN_OR_RETURN(task_, PixelTask::Load(inputs));
    return absl::OkStatus();
  }

  absl::Status Start(const TrialInputs& inputs) override {
    DenseSoftmaxRegression<float>::Options options;
    options.batch_max = static_cast<int>(LargestBatch(inputs.variant));
    ASSIGN_OR_RETURN(
        model_, DenseSoftmaxRegression<float>::Create(task_->inputs(), task_->classes(), options));
    if (inputs.variant.String("train.init") != "explicit") return absl::OkStatus();
    const absl::Span<const int32_t> labels = task_->Labels(Split::kTrain);
    ASSIGN_OR_RETURN(
        const SoftmaxRegressionSolution solution,
        SolveSoftmaxRegression(task_->Images(Split::kTrain), {labels.begin(), labels.end()},
                               task_->classes(), GainModeOf(inputs.variant)));
    std::copy_n(solution.u.data(), solution.u.size(), model_->weights().begin());
    std::copy(solution.bias.begin(), solution.bias.end(), model_->bias().begin());
    gain_ = solution.gain;
    return absl::OkStatus();
  }

  Trainable* trainable() override { return this; }
  absl::StatusOr<Score> Evaluate(Split split) override { return task_->ScoreOf(*model_, split); }

  void Describe(std::map<std::string, double>* metrics) const override {
    if (gain_.has_value()) (*metrics)["solve/gain/pixels"] = *gain_;
    (*metrics)["model/parameters"] = (model_->inputs() + 1.0) * model_->outputs();
    (*metrics)["model/parameters_trained"] = (*metrics)["model/parameters"];
  }

  int64_t examples() const override { return task_->examples(); }
  double LossAndGradient(absl::Span<const int64_t> examples) override {
    return model_->LossAndGradient(task_->Images(Split::kTrain), task_->Labels(Split::kTrain),
                                   examples);
  }
  ParameterArena<float>& arena() override { return model_->arena(); }
  Evaluation EvaluateCurve() override { return task_->EvaluateCurve(*model_); }
  double PriorNats() const override { return task_->PriorNats(); }

 private:
  std::optional<PixelTask> task_;
  std::optional<DenseSoftmaxRegression<float>> model_;
  std::optional<double> gain_;
};

}  // namespace

std::unique_ptr<TrialModel> MakePixelTrial() { return std::make_unique<PixelTrial>(); }

}  // namespace saffron
