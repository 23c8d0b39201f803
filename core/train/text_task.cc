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

constexpr int64_t kTrainSample = 10'240, kTrainBlock = 512;
constexpr int64_t kCurveFraction = 12, kCurveBlock = 512, kCurveMin = 1024;

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

std::vector<PositionRange> SpreadBlocks(int64_t first, int64_t last, int64_t size, int64_t block) {
  CHECK(first <= last && size > 0 && block > 0);
  if (last - first <= std::max(size, block)) return {{first, last}};
  const int64_t count = std::max<int64_t>(1, (size + block - 1) / block);
  // Blocks that would overlap: take everything.
  if (count * block > last - first) return {{first, last}};
  std::vector<PositionRange> blocks;
  for (int64_t i = 0; i < count; ++i) {
    const int64_t begin = first + (count == 1 ? 0 : i * (last - first - block) / (count - 1));
    blocks.push_back({begin, begin + block});
  }
  return blocks;
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

TextTask::TextTask(std::shared_ptr<const TextDataset> data) : data_(std::move(data)) {
  const auto size = [](const std::vector<int32_t>& stream) {
    return static_cast<int64_t>(stream.size());
  };
  const int64_t targets = size(data_->valid) - kEvalContext;
  train_ = SpreadBlocks(0, size(data_->train), kTrainSample, kTrainBlock);
  valid_ = {{kEvalContext, size(data_->valid)}};
  test_ = {{kEvalContext, size(data_->test)}};
  curve_ = SpreadBlocks(kEvalContext, size(data_->valid),
                        std::max(kCurveMin, targets / kCurveFraction), kCurveBlock);
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

const std::vector<PositionRange>& TextTask::Targets(Split split) const {
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
  return EvaluateRanges(Split::kValid, curve_,
                        [&](absl::Span<const int32_t> stream, int64_t first) {
                          return SumOfNats(prior.Nats(stream, static_cast<int>(first)));
                        })
      .nats_per_target();
}

Evaluation SumOfNats(const std::vector<double>& nats) {
  Evaluation evaluation;
  evaluation.targets = static_cast<int64_t>(nats.size());
  for (const double n : nats) evaluation.nats += n;
  return evaluation;
}

}  // namespace saffron
