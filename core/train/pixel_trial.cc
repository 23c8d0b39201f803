// model.type softmax_regression, model.input pixels: images, by the same explicit solution.

#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "core/base/status_macros.h"
#include "core/layers/softmax_regression.h"
#include "core/solve/softmax_regression.h"
#include "core/train/backprop.h"
#include "core/train/solve_choices.h"
#include "core/train/trial_families.h"

namespace saffron {
namespace {

class PixelTrial : public TrialModel, public Trainable {
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
    labels_.assign(data_->train_y.begin(), data_->train_y.begin() + examples_);
    return absl::OkStatus();
  }

  absl::Status Start(const TrialInputs& inputs, int moments) override {
    DenseSoftmaxRegression<float>::Options options;
    options.moments = moments;
    options.batch_max = static_cast<int>(LargestBatch(inputs.variant));
    ASSIGN_OR_RETURN(model_, DenseSoftmaxRegression<float>::Create(
                                 static_cast<int>(data_->train_x.cols()), data_->classes, options));
    if (inputs.variant.String("train.init") != "explicit") return absl::OkStatus();
    ASSIGN_OR_RETURN(
        const SoftmaxRegressionSolution solution,
        SolveSoftmaxRegression(TrainImages(), labels_, data_->classes, GainModeOf(inputs.variant)));
    std::copy_n(solution.u.data(), solution.u.size(), model_->weights().begin());
    std::copy(solution.bias.begin(), solution.bias.end(), model_->bias().begin());
    gain_ = solution.gain;
    return absl::OkStatus();
  }

  Trainable* trainable() override { return this; }

  absl::StatusOr<Score> Evaluate(Split split) override {
    const Evaluation evaluation = split == Split::kTrain ? model_->Evaluate(TrainImages(), labels_)
                                  : split == Split::kValid
                                      ? model_->Evaluate(data_->valid_x, data_->valid_y)
                                      : model_->Evaluate(data_->test_x, data_->test_y);
    return Score{.targets = evaluation.targets,
                 .nats = evaluation.nats_per_target(),
                 .accuracy = evaluation.accuracy()};
  }

  void Describe(std::map<std::string, double>* metrics) const override {
    if (gain_.has_value()) (*metrics)["solve/gain/pixels"] = *gain_;
    (*metrics)["model/parameters"] = (model_->inputs() + 1.0) * model_->outputs();
    (*metrics)["model/parameters_trained"] = (*metrics)["model/parameters"];
  }

  int64_t examples() const override { return examples_; }
  double LossAndGradient(absl::Span<const int64_t> examples) override {
    return model_->LossAndGradient(TrainImages(), labels_, examples);
  }
  ParameterArena<float>& arena() override { return model_->arena(); }
  // The validation split is small: all of it.
  Evaluation EvaluateCurve() override { return model_->Evaluate(data_->valid_x, data_->valid_y); }
  double PriorNats() const override { return std::log(data_->classes); }

 private:
  ConstMatrixRef<float> TrainImages() const { return data_->train_x.topRows(examples_); }

  std::shared_ptr<const ImageDataset> data_;
  int64_t examples_ = 0;
  std::vector<int32_t> labels_;
  std::optional<DenseSoftmaxRegression<float>> model_;
  std::optional<double> gain_;
};

}  // namespace

std::unique_ptr<TrialModel> MakePixelTrial() { return std::make_unique<PixelTrial>(); }

}  // namespace saffron
