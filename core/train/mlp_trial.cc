// model.type mlp: images by a multi-layer perceptron.

#include <algorithm>
#include <cmath>
#include <map>
#include <string>

#include "absl/strings/str_cat.h"
#include "core/base/status_macros.h"
#include "core/train/backprop.h"
#include "core/train/trial_families.h"
#include "core/transformer/mlp_classifier.h"

namespace saffron {
namespace {

MlpKind KindOf(const ResolvedVariant& variant) {
  static const auto* const kinds =
      new std::map<std::string, MlpKind>{{"relu", MlpKind::kRelu},
                                         {"gelu", MlpKind::kGelu},
                                         {"gelu_tanh", MlpKind::kGeluTanh},
                                         {"geglu", MlpKind::kGeglu},
                                         {"swiglu", MlpKind::kSwiglu}};
  return kinds->at(variant.String("model.mlp"));
}

class MlpTrial : public TrialModel, public Trainable {
 public:
  absl::Status Load(const TrialInputs& inputs) override {
    const std::string& corpus = inputs.variant.String("data.corpus");
    ASSIGN_OR_RETURN(data_, inputs.env.data->Images(corpus));
    if (data_->fingerprint != inputs.data_fingerprint) {
      return absl::FailedPreconditionError(
          absl::StrCat("data.corpus: ", corpus, " changed: its fingerprint here is ",
                       data_->fingerprint, ", the trial wants ", inputs.data_fingerprint));
    }
    examples_ = std::min<int64_t>(inputs.variant.Int("data.examples"), data_->train_x.rows());
    return absl::OkStatus();
  }

  absl::Status Start(const TrialInputs& inputs, int moments) override {
    const ResolvedVariant& v = inputs.variant;
    const MlpShape shape{.inputs = static_cast<int>(data_->train_x.cols()),
                         .classes = data_->classes,
                         .layers = static_cast<int>(v.Int("model.layers")),
                         .width = static_cast<int>(v.Int("model.hidden_width")),
                         .kind = KindOf(v)};
    MlpClassifier<float>::Options options;
    options.moments = moments;
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

  absl::StatusOr<Score> Evaluate(Split split) override {
    const Evaluation evaluation =
        split == Split::kTrain
            ? model_->Evaluate(data_->train_x.topRows(examples_),
                               absl::MakeConstSpan(data_->train_y).first(examples_))
        : split == Split::kValid ? model_->Evaluate(data_->valid_x, data_->valid_y)
                                 : model_->Evaluate(data_->test_x, data_->test_y);
    return Score{.targets = evaluation.targets,
                 .nats = evaluation.nats_per_target(),
                 .accuracy = evaluation.accuracy()};
  }

  void Describe(std::map<std::string, double>* metrics) const override {
    const auto parameters = static_cast<double>(model_->arena().parameters().size());
    (*metrics)["model/parameters"] = parameters;
    (*metrics)["model/parameters_trained"] = parameters;
  }

  int64_t examples() const override { return examples_; }
  void BeginStep(int64_t step) override { step_ = step; }
  double LossAndGradient(absl::Span<const int64_t> examples) override {
    return model_->LossAndGradient(data_->train_x, data_->train_y, examples, step_);
  }
  ParameterArena<float>& arena() override { return model_->arena(); }
  // The validation split is small: all of it.
  Evaluation EvaluateCurve() override { return model_->Evaluate(data_->valid_x, data_->valid_y); }
  double PriorNats() const override { return std::log(data_->classes); }

 private:
  std::shared_ptr<const ImageDataset> data_;
  int64_t examples_ = 0, step_ = 0;
  std::unique_ptr<MlpClassifier<float>> model_;
};

}  // namespace

std::unique_ptr<TrialModel> MakeMlpTrial() { return std::make_unique<MlpTrial>(); }

}  // namespace saffron
