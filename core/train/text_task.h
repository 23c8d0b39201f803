#pragma once
// A text corpus as a prediction task: which positions of which stream are scored, and how their
// losses become metrics. All text models share it, so that their numbers compare.

#include <cstdint>
#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "core/data/data_store.h"
#include "core/layers/evaluation.h"
#include "core/train/trial_model.h"

namespace saffron {

// Positions begin .. end-1 of a stream.
struct PositionRange {
  int64_t begin = 0, end = 0;
  int64_t size() const { return end - begin; }
};

// `size` positions of [first, last), or all of them when there are fewer, as blocks of `block`
// spread evenly: block i of n begins at first + i (last - first - block) / (n - 1).
std::vector<PositionRange> SpreadBlocks(int64_t first, int64_t last, int64_t size, int64_t block);

class TextTask {
 public:
  // Reads the streams that the variant's data.* keys ask for. NOT_FOUND: no such corpus.
  // FAILED_PRECONDITION: its fingerprint is not `inputs.data_fingerprint`. INVALID_ARGUMENT: the
  // corpus holds no text, or too little of it to have targets in every split.
  static absl::StatusOr<TextTask> Load(const TrialInputs& inputs);

  explicit TextTask(std::shared_ptr<const TextDataset> data);

  const TextDataset& data() const { return *data_; }

  absl::Span<const int32_t> Stream(Split split) const;

  // What a split's score is taken over. Validation and test: every position after the first
  // kEvalContext. Training: a fixed sample of some 10,000 positions, so that scoring it costs a
  // fraction of what scoring the whole would.
  const std::vector<PositionRange>& Targets(Split split) const;
  // Learning curves are drawn on a fixed twelfth of the validation targets (but at least 1,024), so
  // that a run's evaluations cost less than its steps. Final metrics take all targets.
  const std::vector<PositionRange>& CurveTargets() const { return curve_; }

  // Adds up what `evaluate(stream, first)` says of the targets stream[first], ... of each range, in
  // their order. At least kEvalContext tokens precede a target where the corpus has them.
  template <typename Evaluate>
  Evaluation EvaluateRanges(Split split, const std::vector<PositionRange>& ranges,
                            Evaluate evaluate) const {
    Evaluation total;
    for (const PositionRange& range : ranges) {
      const int64_t begin = range.begin < context_ ? 0 : range.begin - context_;
      const Evaluation part =
          evaluate(Stream(split).subspan(begin, range.end - begin), range.begin - begin);
      total.targets += part.targets;
      total.nats += part.nats;
      total.correct += part.correct;
    }
    return total;
  }

  // Ranges are given at least so many tokens of context; kEvalContext unless a model reads further.
  void set_context(int64_t context) { context_ = context; }

  // Metrics of an evaluation over Targets(split); accuracy only where `correct` was counted.
  Score ScoreOf(Split split, const Evaluation& evaluation, bool has_accuracy) const;

  // Mean loss on the curve's targets of the smoothed token frequencies of the training stream: what
  // a model is expected to stay below.
  double PriorNats() const;

 private:
  std::shared_ptr<const TextDataset> data_;
  int64_t context_ = kEvalContext;
  std::vector<PositionRange> train_, valid_, test_, curve_;
};

// An Evaluation without accuracy from per-target losses, added up in their order.
Evaluation SumOfNats(const std::vector<double>& nats);

}  // namespace saffron
