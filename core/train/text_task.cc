#include "core/train/text_task.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "absl/strings/str_cat.h"
#include "core/base/check.h"
#include "core/base/status_macros.h"
#include "core/solve/unigram.h"

namespace saffron {
namespace {

constexpr int64_t kTrainSample = 10'000, kCurveSample = 5'000;

TextRequest RequestOf(const ResolvedVariant& variant) {
  TextRequest request;
  request.corpus = variant.String("data.corpus");
  request.tokenizer = variant.String("data.tokenizer");
  if (variant.Has("data.vocab")) request.vocab = static_cast<int>(variant.Int("data.vocab"));
  request.train_tokens = variant.Int("data.tokens");
  request.eval_tokens = variant.Int("data.eval_tokens");
  return request;
}

absl::Status CheckHasTargets(const std::string& corpus, const char* split, size_t tokens,
                             int64_t at_least) {
  if (static_cast<int64_t>(tokens) >= at_least) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat("data.corpus: the ", split, " split of ", corpus,
                                                 " has ", tokens, " tokens, want at least ",
                                                 at_least, "; add more text to the corpus"));
}

}  // namespace

std::vector<int64_t> SpreadPositions(int64_t first, int64_t last, int64_t most) {
  CHECK(first <= last && most > 0);
  const int64_t stride = std::max<int64_t>(1, (last - first) / most);
  std::vector<int64_t> positions;
  // From the middle of the first stride, so that neither end is favoured.
  for (int64_t t = first + stride / 2; t < last; t += stride) positions.push_back(t);
  return positions;
}

absl::StatusOr<TextTask> TextTask::Load(const TrialInputs& inputs) {
  const TextRequest request = RequestOf(inputs.variant);
  ASSIGN_OR_RETURN(std::shared_ptr<const TextDataset> data, inputs.env.data->Text(request));
  if (data->fingerprint != inputs.data_fingerprint) {
    return absl::FailedPreconditionError(
        absl::StrCat("data.corpus: ", request.corpus, " changed: its fingerprint here is ",
                     data->fingerprint, ", the trial wants ", inputs.data_fingerprint));
  }
  // The solve holds blocks of the stream out; below 64 tokens there is nothing to hold out.
  RETURN_IF_ERROR(CheckHasTargets(request.corpus, "training", data->train.size(), 64));
  for (const auto& [name, stream] :
       {std::pair{"validation", &data->valid}, {"test", &data->test}}) {
    RETURN_IF_ERROR(CheckHasTargets(request.corpus, name, stream->size(), kEvalContext + 1));
  }
  return TextTask(std::move(data));
}

absl::Status CheckTokenIds(absl::Span<const int32_t> ids, int64_t vocab) {
  for (const int32_t id : ids) {
    if (id >= 0 && id < vocab) continue;
    return absl::InvalidArgumentError(
        absl::StrCat("token: want an id from 0 to ", vocab - 1, ", got ", id));
  }
  return absl::OkStatus();
}

TextTask::TextTask(std::shared_ptr<const TextDataset> data) : data_(std::move(data)) {
  const auto size = [](const std::vector<int32_t>& stream) {
    return static_cast<int64_t>(stream.size());
  };
  const auto all = [&](const std::vector<int32_t>& stream) {
    return SpreadPositions(kEvalContext, size(stream), size(stream));
  };
  train_ = SpreadPositions(0, size(data_->train), kTrainSample);
  valid_ = all(data_->valid);
  test_ = all(data_->test);
  curve_ = SpreadPositions(kEvalContext, size(data_->valid), kCurveSample);
}

absl::Span<const int32_t> TextTask::Stream(Split split) const {
  switch (split) {
    case Split::kTrain:
      return data_->train;
    case Split::kValid:
      return data_->valid;
    case Split::kTest:
      return data_->test;
  }
  CHECK(false) << "split";
  return {};
}

const std::vector<int64_t>& TextTask::Targets(Split split) const {
  return split == Split::kTrain ? train_ : split == Split::kValid ? valid_ : test_;
}

Score TextTask::ScoreOf(Split split, const Evaluation& evaluation, bool has_accuracy) const {
  Score score;
  score.targets = evaluation.targets;
  score.nats = evaluation.nats_per_target();
  if (has_accuracy) score.accuracy = evaluation.accuracy();
  const int64_t bytes = split == Split::kValid  ? data_->valid_target_bytes
                        : split == Split::kTest ? data_->test_target_bytes
                                                : 0;
  if (bytes > 0) {
    score.bits_per_byte = evaluation.nats / std::numbers::ln2 / static_cast<double>(bytes);
  }
  return score;
}

double TextTask::PriorNats() const {
  const UnigramModel prior = UnigramModel::Fit(data_->train, data_->vocab);
  return SumNats(
             Split::kValid, curve_, /*context=*/0,
             [&](absl::Span<const int32_t> stream, int first) { return prior.Nats(stream, first); })
      .nats_per_target();
}

}  // namespace saffron
