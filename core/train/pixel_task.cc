#include "core/train/pixel_task.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "core/base/status_macros.h"

namespace saffron {

absl::StatusOr<PixelTask> PixelTask::Load(const TrialInputs& inputs) {
  const std::string& corpus = inputs.variant.String("data.corpus");
  ASSIGN_OR_RETURN(std::shared_ptr<const ImageDataset> data, inputs.env.data->Images(corpus));
  if (data->fingerprint != inputs.data_fingerprint) {
    return absl::FailedPreconditionError(
        absl::StrCat("data.corpus: ", corpus, " changed: its fingerprint here is ",
                     data->fingerprint, ", the trial wants ", inputs.data_fingerprint));
  }
  const int64_t examples =
      std::min<int64_t>(inputs.variant.Int("data.examples"), data->train_x.rows());
  return PixelTask(std::move(data), examples);
}

ConstMatrixRef<float> PixelTask::Images(Split split) const {
  return split == Split::kTrain   ? data_->train_x.topRows(examples_)
         : split == Split::kValid ? data_->valid_x.topRows(data_->valid_x.rows())
                                  : data_->test_x.topRows(data_->test_x.rows());
}

absl::Span<const int32_t> PixelTask::Labels(Split split) const {
  return split == Split::kTrain   ? absl::MakeConstSpan(data_->train_y).first(examples_)
         : split == Split::kValid ? absl::MakeConstSpan(data_->valid_y)
                                  : absl::MakeConstSpan(data_->test_y);
}

}  // namespace saffron
