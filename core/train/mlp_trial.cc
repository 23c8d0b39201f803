// model.type mlp: images by a multi-layer perceptron.

#include <optional>

#include "core/base/status_macros.h"
#include "core/train/backprop.h"
#include "core/train/pixel_task.h"
#include "core/train/trial_families.h"
#include "core/transformer/kind_names.h"
#include "core/transformer/mlp_classifier.h"

namespace saffron {
namespace {

class MlpTrial : public TrialModel, public Trainable {
 public:
  absl::Status Load(const TrialInputs& inputs) override {
    ASSIGN_OR_RETURN(task_, PixelTask::Load(inputs));
    return absl::OkStatus();
  }

  absl::Status Start(const TrialInputs& inputs) override {
    const ResolvedVariant& v = inputs.variant;
    const MlpShape shape{.inputs = task_->inputs(),
                         .classes = task_->classes(),
                         .layers = static_cast<int>(v.Int("model.layers")),
                         .width = static_cast<int>(v.Int("model.hidden_width")),
                         .kind = KindOf<MlpKind>(v.String("model.mlp"))};
    MlpClassifier<float>::Options options;
    options.seed = inputs.seed;
    if (v.Has("model.dropout")) options.dropout = v.Double("model.dropout");
    if (v.Has("train.label_smoothing")) {
      options.label_smoothing = v.Double("train.label_smoothing");
    }
    options.batch_max = LargestBatch(v);
    ASSIGN_OR_RETURN(model_, MlpClassifier<float>::Create(shape, options));
    return absl::OkStatus();
  }

  Trainable* trainable() override { return this; }
  absl::StatusOr<Score> Evaluate(Split split) override { return task_->ScoreOf(*model_, split); }

  void Describe(std::map<std::string, double>* metrics) const override {
    const auto parameters = static_cast<double>(model_->arena().parameters().size());
    (*metrics)["model/parameters"] = parameters;
    (*metrics)["model/parameters_trained"] = parameters;
  }

  int64_t examples() const override { return task_->examples(); }
  void BeginStep(int64_t step) override { step_ = step; }
  double LossAndGradient(absl::Span<const int64_t> examples) override {
    return model_->LossAndGradient(task_->Images(Split::kTrain), task_->Labels(Split::kTrain),
                                   examples, step_);
  }
  ParameterArena<float>& arena() override { return model_->arena(); }
  Evaluation EvaluateCurve() override { return task_->EvaluateCurve(*model_); }
  double PriorNats() const override { return task_->PriorNats(); }

 private:
  std::optional<PixelTask> task_;
  int64_t step_ = 0;
  std::unique_ptr<MlpClassifier<float>> model_;
};

}  // namespace

std::unique_ptr<TrialModel> MakeMlpTrial() { return std::make_unique<MlpTrial>(); }

}  // namespace saffron
