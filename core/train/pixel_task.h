#pragma once
// Labelled images as a prediction task: what is trained on and scored. All image models share it,
// so that their numbers compare.

#include <cmath>
#include <cstdint>
#include <memory>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "core/data/data_store.h"
#include "core/train/trial_model.h"

namespace saffron {

class PixelTask {
 public:
  // Reads the images that the variant's data.* keys ask for. NOT_FOUND: no such corpus.
  // FAILED_PRECONDITION: its fingerprint is not `inputs.data_fingerprint`. INVALID_ARGUMENT: it
  // holds no images.
  static absl::StatusOr<PixelTask> Load(const TrialInputs& inputs);

  int inputs() const { return static_cast<int>(data_->train_x.cols()); }
  int classes() const { return data_->classes; }
  int64_t examples() const { return examples_; }

  // Pixels [images, inputs()] and labels of a split; of training, the first data.examples.
  ConstMatrixRef<float> Images(Split split) const;
  absl::Span<const int32_t> Labels(Split split) const;

  // The metrics of a model with Evaluate(images, labels).
  template <typename Model>
  Score ScoreOf(Model& model, Split split) const {
    const Evaluation evaluation = EvaluateOn(model, split);
    return {.targets = evaluation.targets,
            .nats = evaluation.nats_per_target(),
            .accuracy = evaluation.accuracy()};
  }
  // For learning curves. The validation split is small: all of it.
  template <typename Model>
  Evaluation EvaluateCurve(Model& model) const {
    return EvaluateOn(model, Split::kValid);
  }
  // Loss of a model that knows the number of classes alone.
  double PriorNats() const { return std::log(data_->classes); }

 private:
  PixelTask(std::shared_ptr<const ImageDataset> data, int64_t examples)
      : data_(std::move(data)), examples_(examples) {}
  template <typename Model>
  Evaluation EvaluateOn(Model& model, Split split) const {
    return model.Evaluate(Images(split), Labels(split));
  }

  std::shared_ptr<const ImageDataset> data_;
  int64_t examples_;
};

}  // namespace saffron
