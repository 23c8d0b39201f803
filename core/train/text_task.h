#pragma once
// A text corpus as a prediction task: which positions of which stream are scored, and how their
// losses become metrics. All text models share it, so that their numbers compare.

#include <algorithm>
#include <cstdint>
#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "core/base/status_macros.h"
#include "core/data/data_store.h"
#include "core/layers/evaluation.h"
#include "core/train/trial_model.h"

namespace saffron {

// About `most` positions of [first, last), evenly spaced; all of them when there are fewer.
std::vector<int64_t> SpreadPositions(int64_t first, int64_t last, int64_t most);

// INVALID_ARGUMENT: an id that is not below the vocabulary's size.
absl::Status CheckTokenIds(absl::Span<const int32_t> ids, int64_t vocab);

class TextTask {
 public:
  // Reads the streams that the variant's data.* keys ask for. NOT_FOUND: no such corpus.
  // FAILED_PRECONDITION: its fingerprint is not `inputs.data_fingerprint`. INVALID_ARGUMENT: the
  // corpus holds no text, or too little of it to have targets in every split.
  static absl::StatusOr<TextTask> Load(const TrialInputs& inputs);

  explicit TextTask(std::shared_ptr<const TextDataset> data);

  const TextDataset& data() const { return *data_; }

  absl::Span<const int32_t> Stream(Split split) const;

  // Positions of the targets that a split's score is taken over, ascending. Validation and test:
  // all after the first kEvalContext. Training: some 10,000, evenly spaced, so that scoring it
  // costs a fraction of what scoring the whole would.
  const std::vector<int64_t>& Targets(Split split) const;
  // Learning curves are drawn on about 5,000 evenly spaced targets of the validation split, so that
  // a run's evaluations cost less than its steps. Final metrics take all targets.
  const std::vector<int64_t>& CurveTargets() const { return curve_; }

  // Sums the losses of targets under a model that gives those of a stretch: nats_of(stream, first)
  // are -log P(stream[t] | before) for t = first, ... Each stretch of consecutive targets is asked
  // for once, with the `context` tokens before it, as far as the stream has them.
  template <typename NatsOf>
  Evaluation SumNats(Split split, const std::vector<int64_t>& targets, int64_t context,
                     NatsOf nats_of) const {
    Evaluation total;
    for (size_t i = 0, next; i < targets.size(); i = next) {
      for (next = i + 1; next < targets.size() && targets[next] == targets[next - 1] + 1;) ++next;
      const int64_t begin = std::max<int64_t>(0, targets[i] - context);
      const auto stretch = Stream(split).subspan(begin, targets[next - 1] + 1 - begin);
      for (const double nats : nats_of(stretch, static_cast<int>(targets[i] - begin))) {
        ++total.targets;
        total.nats += nats;
      }
    }
    return total;
  }

  // Metrics of an evaluation over Targets(split); accuracy only where `correct` was counted.
  Score ScoreOf(Split split, const Evaluation& evaluation, bool has_accuracy) const;

  // -log P of every id as the next after `tokens`, under a model that gives the loss of the last of
  // a stream. INVALID_ARGUMENT: an id that is not below the vocabulary's size.
  template <typename NatsOfLast>
  absl::StatusOr<std::vector<double>> NextNats(absl::Span<const int32_t> tokens,
                                               NatsOfLast nats_of_last) const {
    std::vector<int32_t> stream(tokens.begin(), tokens.end());
    RETURN_IF_ERROR(CheckTokenIds(stream, data_->vocab));
    stream.push_back(0);
    std::vector<double> nats;
    for (int32_t id = 0; id < data_->vocab; ++id) {
      stream.back() = id;
      nats.push_back(nats_of_last(absl::MakeConstSpan(stream)));
    }
    return nats;
  }

  // Mean loss on the curve's targets of the smoothed token frequencies of the training stream: what
  // a model is expected to stay below.
  double PriorNats() const;

 private:
  std::shared_ptr<const TextDataset> data_;
  std::vector<int64_t> train_, valid_, test_, curve_;
};

}  // namespace saffron
