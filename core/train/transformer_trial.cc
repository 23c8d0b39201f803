// model.type transformer: a language model over windows of the training stream.
//
// Training example w is targets wT .. wT+T-1 of the training stream (T = model.window), each from
// the tokens before it in the window and the one before the window; documents follow each other
// across it, a rest of fewer than T tokens is left out. A step takes train.batch / T windows.
// With model.packing document a token sees those of its own document alone, which <eod>, the end of
// the one before, begins: a target's evidence is the text of its document in the window.
//
// Evaluation slides a window of T over the scored targets by half of it and scores the later half,
// so that every target is predicted from T/2 to T tokens, as a model of that context would be used.
// Validation and test score the targets that all models score; learning curves and the training
// split, evenly spaced stretches of about 5,000 and 10,000.

#include <algorithm>
#include <map>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "core/base/status_macros.h"
#include "core/math/exp.h"
#include "core/model/registry.h"
#include "core/train/readout_start.h"
#include "core/train/text_task.h"
#include "core/train/transformer_experts.h"
#include "core/train/transformer_start.h"
#include "core/train/trial_families.h"
#include "core/train/variant_shape.h"
#include "core/transformer/shape_json.h"
#include "core/transformer/transformer_init.h"

namespace saffron {
namespace {

class TransformerTrial : public TrialModel, public Trainable {
 public:
  absl::Status Load(const TrialInputs& inputs) override {
    ASSIGN_OR_RETURN(task_, TextTask::Load(inputs));
    eod_ = task_->data().eod;
    window_ = inputs.variant.Int("model.window");
    const auto tokens = static_cast<int64_t>(task_->data().train.size());
    if (tokens <= window_) {
      return absl::InvalidArgumentError(absl::StrCat("model.window: want fewer than the ", tokens,
                                                     " tokens of training text, got ", window_));
    }
    if (!KeepsDocumentsApart(inputs.variant) || eod_ != 0) return absl::OkStatus();
    return absl::InvalidArgumentError(absl::StrCat(
        "model.packing: want stream where documents end in <unk>, for <eod> is too rare for a "
        "vocabulary of ",
        task_->data().vocab, " types; got document (a larger data.vocab has it)"));
  }

  absl::Status Start(const TrialInputs& inputs) override {
    const ResolvedVariant& v = inputs.variant;
    window_ = v.Int("model.window");
    if (inputs.eod.has_value()) eod_ = *inputs.eod;
    TransformerNetwork<float>::Options options;
    options.train = v.Int("train.steps") > 0 || v.Int("train.polish") > 0;
    if (v.Has("model.dropout")) options.dropout = v.Double("model.dropout");
    if (v.Has("train.label_smoothing")) {
      options.label_smoothing = v.Double("train.label_smoothing");
    }
    options.dropout_seed = inputs.seed;
    options.moe = MoeTrainingOf(v);
    if (KeepsDocumentsApart(v)) options.document_begin = eod_;
    options.bf16 = v.String("train.precision") == "bf16";
    flops_ = EstimateCost(v).target_flops;
    ASSIGN_OR_RETURN(const TransformerShape shape, ShapeToTrain(inputs));
    ASSIGN_OR_RETURN(network_, TransformerNetwork<float>::Create(shape, options));
    if (inputs.given) return absl::OkStatus();
    const TextDataset& data = task_->data();
    const std::vector<double> drawn = DrawTransformer(network_->shape(), inputs.seed);
    std::copy(drawn.begin(), drawn.end(), network_->arena().parameters().begin());
    if (v.String("train.init") != "explicit") return absl::OkStatus();
    const std::string& embedding = v.String("solve.embedding");
    if (embedding != "random") {
      RETURN_IF_ERROR(EmbedFeatures(embedding, data, *inputs.env.statistics, *network_));
    }
    const std::string& readout = v.String("solve.readout");
    if (readout == "prior") SetPriorBias(data, *network_);
    if (readout == "ridge") {
      ASSIGN_OR_RETURN(gains_["ridge"], SolveRidgeReadout(data, window_, *network_));
    }
    if (readout == "explicit") gains_["explicit"] = SolveCountedReadout(data, window_, *network_);
    return absl::OkStatus();
  }

  Trainable* trainable() override { return this; }

  absl::StatusOr<Score> Evaluate(Split split) override {
    if (split == Split::kTrain) {
      return task_->ScoreOf(split, EvaluateSpread(split, kTrainSample), /*has_accuracy=*/true);
    }
    const auto size = static_cast<int64_t>(task_->Stream(split).size());
    Windows windows;
    for (int64_t t = kEvalContext; t < size; t += Stride()) AddWindow(split, t, size, &windows);
    // The routers' doings are those of the first evaluation of the test split.
    const bool watched = split == Split::kTest && !routing_.seen();
    if (watched) routing_.Watch(*network_);
    const Evaluation evaluation = EvaluateWindows(windows);
    if (watched) routing_.Stop(*network_);
    return task_->ScoreOf(split, evaluation, /*has_accuracy=*/true);
  }

  const RoutingMetrics* routing() const override { return routing_.seen() ? &routing_ : nullptr; }

  absl::StatusOr<std::vector<double>> NextTokenNats(absl::Span<const int32_t> tokens) override {
    const int64_t vocab = network_->shape().vocab;
    RETURN_IF_ERROR(CheckTokenIds(tokens, vocab));
    // A document begins after the end of another.
    std::vector<int32_t> seen = {eod_};
    seen.insert(seen.end(), tokens.begin(), tokens.end());
    const auto length = std::min(window_, static_cast<int64_t>(seen.size()));
    const auto last = absl::MakeConstSpan(seen).last(static_cast<size_t>(length));
    std::vector<float> logits(static_cast<size_t>(length * vocab));
    network_->Logits(last, length, absl::MakeSpan(logits));
    const float* row = &logits[(length - 1) * vocab];
    const double log_sum = LogSumExp(row, vocab);
    std::vector<double> nats(static_cast<size_t>(vocab));
    for (int64_t id = 0; id < vocab; ++id) nats[id] = log_sum - row[id];
    return nats;
  }

  void Describe(std::map<std::string, double>* metrics) const override {
    const auto parameters = static_cast<double>(network_->layout().size);
    (*metrics)["model/parameters"] = parameters;
    (*metrics)["model/parameters_trained"] = parameters;
    const auto active =
        static_cast<double>(CountParameters(network_->shape(), network_->layout()).active);
    (*metrics)["model/parameters_active"] = active;
    (*metrics)["model/flops_active"] = flops_;
    (*metrics)["model/flops_total"] = flops_ + 2 * (parameters - active);
    routing_.Describe(metrics);
    for (const auto& [readout, gain] : gains_) (*metrics)["solve/gain/" + readout] = gain;
  }

  int64_t examples() const override {
    return static_cast<int64_t>(task_->data().train.size()) / window_;
  }
  int64_t targets_per_example() const override { return window_; }
  void BeginStep(int64_t step) override {
    step_ = step;
    taken_ = 0;
  }
  double LossAndGradient(absl::Span<const int64_t> examples) override {
    inputs_.clear();
    targets_.clear();
    const absl::Span<const int32_t> stream = task_->Stream(Split::kTrain);
    for (const int64_t example : examples) {
      const int64_t begin = example * window_;
      for (int64_t t = begin; t < begin + window_; ++t) {
        inputs_.push_back(t > 0 ? stream[t - 1] : eod_);
        targets_.push_back(stream[t]);
      }
    }
    const int64_t first = taken_;
    taken_ += static_cast<int64_t>(inputs_.size());
    return network_->LossAndGradient(inputs_, targets_, window_, step_, first);
  }
  ParameterArena<float>& arena() override { return network_->arena(); }
  std::string shape() const override { return ShapeJson(network_->shape()); }
  std::optional<int32_t> eod() const override { return eod_; }
  Evaluation EvaluateCurve() override { return EvaluateSpread(Split::kValid, kCurveSample); }
  double PriorNats() const override { return task_->PriorNats(); }

 private:
  static constexpr int64_t kTrainSample = 10'000, kCurveSample = 5'000;

  struct Windows {
    std::vector<int32_t> inputs, targets;
  };

  static bool KeepsDocumentsApart(const ResolvedVariant& v) {
    return v.String("model.packing") == "document";
  }

  // The variant's, or that of the model that its parameters will come from.
  absl::StatusOr<TransformerShape> ShapeToTrain(const TrialInputs& inputs) const {
    if (inputs.shape.empty()) return ShapeOf(inputs.variant, task_->data().vocab);
    ASSIGN_OR_RETURN(TransformerShape shape, ParseShapeJson(inputs.shape));
    if (!task_.has_value()) {
      RETURN_IF_ERROR(CheckTokenIds({eod_}, shape.vocab));
      return shape;
    }
    const int vocab = task_->data().vocab;
    if (shape.vocab == vocab) return shape;
    return absl::InvalidArgumentError(
        absl::StrCat("its shape has a vocabulary of ", shape.vocab, ", its corpus one of ", vocab));
  }

  // Targets that a window scores.
  int64_t Stride() const { return window_ - window_ / 2; }

  // A window that scores the targets of [first, first + Stride()) below `last`.
  void AddWindow(Split split, int64_t first, int64_t last, Windows* windows) const {
    const absl::Span<const int32_t> stream = task_->Stream(split);
    const int64_t begin = first - window_ / 2;
    for (int64_t t = begin; t < begin + window_; ++t) {
      const bool before = t < 1, scored = t >= first && t < last;
      windows->inputs.push_back(before ? eod_ : stream[std::min<int64_t>(t, last) - 1]);
      windows->targets.push_back(scored ? stream[t] : kIgnoredTarget);
    }
  }

  // About `targets` targets in evenly spaced windows; all where there are no more.
  Evaluation EvaluateSpread(Split split, int64_t targets) {
    const auto size = static_cast<int64_t>(task_->Stream(split).size());
    const int64_t first = split == Split::kTrain ? 0 : kEvalContext;
    const int64_t all = (size - first + Stride() - 1) / Stride();
    const int64_t count = std::min(all, std::max<int64_t>(1, targets / Stride()));
    Windows windows;
    for (int64_t i = 0; i < count; ++i) {
      AddWindow(split, first + (2 * i + 1) * all / (2 * count) * Stride(), size, &windows);
    }
    return EvaluateWindows(windows);
  }

  Evaluation EvaluateWindows(const Windows& windows) {
    return network_->Evaluate(windows.inputs, windows.targets, window_);
  }

  std::optional<TextTask> task_;  // none in one that only predicts
  int32_t eod_ = 0;
  int64_t window_ = 0, step_ = 0, taken_ = 0;  // taken_: tokens of this step so far
  std::unique_ptr<TransformerNetwork<float>> network_;
  std::vector<int32_t> inputs_, targets_;  // of a batch
  std::map<std::string, double> gains_;    // of a readout made from hidden states, by its kind
  RoutingMetrics routing_;
  double flops_ = 0;  // of a token's forward pass
};

}  // namespace

std::unique_ptr<TrialModel> MakeTransformerTrial() { return std::make_unique<TransformerTrial>(); }

}  // namespace saffron
