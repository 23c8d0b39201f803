// model.type softmax_regression, model.input onehot: a table of logits for each of the last tokens.
//
// An explicit start without steps stays in the sparse form that the solve gives. To train it, the
// tables become dense: W_k = gain_k * evidence, bias = log p.

#include "core/base/status_macros.h"
#include "core/layers/softmax_regression.h"
#include "core/solve/onehot_softmax.h"
#include "core/train/backprop.h"
#include "core/train/solve_choices.h"
#include "core/train/text_task.h"
#include "core/train/trial_families.h"

namespace saffron {
namespace {

using DenseModel = OneHotSoftmaxRegression<float>;

class OneHotTrial : public TrialModel, public Trainable {
 public:
  absl::Status Load(const TrialInputs& inputs) override {
    ASSIGN_OR_RETURN(task_, TextTask::Load(inputs));
    return absl::OkStatus();
  }

  absl::Status Start(const TrialInputs& inputs) override {
    const int lags = static_cast<int>(inputs.variant.Int("model.context"));
    if (inputs.variant.String("train.init") == "explicit") {
      OneHotSpec spec;
      spec.context = lags;
      spec.gains = GainModeOf(inputs.variant);
      ASSIGN_OR_RETURN(solved_, OneHotModel::Solve(spec, task_->data(), *inputs.env.statistics));
      gains_ = solved_->gains();
      if (inputs.variant.Int("train.steps") == 0 && inputs.variant.Int("train.polish") == 0) {
        return absl::OkStatus();
      }
    }
    DenseModel::Options options;
    options.batch_max = static_cast<int>(LargestBatch(inputs.variant));
    options.padding = task_->data().eod;
    ASSIGN_OR_RETURN(dense_, DenseModel::Create(lags, task_->data().vocab, options));
    if (solved_.has_value()) SpreadSolution();
    return absl::OkStatus();
  }

  Trainable* trainable() override { return dense_.has_value() ? this : nullptr; }

  absl::StatusOr<Score> Evaluate(Split split) override {
    return task_->ScoreOf(split, EvaluateOn(split, task_->Targets(split)), dense_.has_value());
  }

  absl::StatusOr<std::vector<double>> NextTokenNats(absl::Span<const int32_t> tokens) override {
    return task_->NextNats(tokens, [this](absl::Span<const int32_t> stream) {
      const std::vector<int64_t> last = {static_cast<int64_t>(stream.size()) - 1};
      return dense_.has_value() ? dense_->Evaluate(stream, last).nats
                                : solved_->Nats(stream, last)[0];
    });
  }

  void Describe(std::map<std::string, double>* metrics) const override {
    for (size_t k = 0; k < gains_.size(); ++k) {
      (*metrics)["solve/gain/x" + std::to_string(k + 1)] = gains_[k];
    }
    const double vocab = task_->data().vocab;
    (*metrics)["model/parameters"] = dense_.has_value()
                                         ? dense_->lags() * vocab * vocab + vocab
                                         : static_cast<double>(solved_->parameters());
    (*metrics)["model/parameters_trained"] = (*metrics)["model/parameters"];
  }

  int64_t examples() const override { return static_cast<int64_t>(task_->data().train.size()); }
  double LossAndGradient(absl::Span<const int64_t> examples) override {
    return dense_->LossAndGradient(task_->Stream(Split::kTrain), examples);
  }
  ParameterArena<float>& arena() override { return dense_->arena(); }
  void ArenaRestored() override { dense_->ArenaRestored(); }
  Evaluation EvaluateCurve() override { return EvaluateOn(Split::kValid, task_->CurveTargets()); }
  double PriorNats() const override { return task_->PriorNats(); }

 private:
  // Moves the sparse solution into the dense tables.
  void SpreadSolution() {
    for (int lag = 1; lag <= dense_->lags(); ++lag) {
      const EvidenceTable& table = *solved_->tables()[lag - 1];
      const absl::Span<float> weights = dense_->weights(lag);
      for (int64_t row = 0; row < dense_->vocab(); ++row) {
        for (int32_t i = table.begin[row]; i < table.begin[row + 1]; ++i) {
          weights[row * dense_->vocab() + table.next[i]] =
              static_cast<float>(gains_[lag - 1] * table.value[i]);
        }
      }
    }
    for (int i = 0; i < dense_->vocab(); ++i) {
      dense_->bias()[i] = static_cast<float>(solved_->log_p()[i]);
    }
    solved_.reset();
  }

  Evaluation EvaluateOn(Split split, const std::vector<int64_t>& targets) {
    if (dense_.has_value()) return dense_->Evaluate(task_->Stream(split), targets);
    Evaluation sum;
    for (const double nats : solved_->Nats(task_->Stream(split), targets)) {
      ++sum.targets;
      sum.nats += nats;
    }
    return sum;
  }

  std::optional<TextTask> task_;
  std::optional<OneHotModel> solved_;
  std::optional<DenseModel> dense_;
  std::vector<double> gains_;
};

}  // namespace

std::unique_ptr<TrialModel> MakeOneHotTrial() { return std::make_unique<OneHotTrial>(); }

}  // namespace saffron
