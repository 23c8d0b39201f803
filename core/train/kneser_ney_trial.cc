// model.type kneser_ney: interpolated n-grams, alone or mixed with the document's history.

#include "core/base/status_macros.h"
#include "core/log_linear/history_mixture.h"
#include "core/solve/kneser_ney.h"
#include "core/train/solve_choices.h"
#include "core/train/text_task.h"
#include "core/train/trial_families.h"

namespace saffron {
namespace {

constexpr int64_t kContext = 4;  // of the longest n-gram

class KneserNeyTrial : public TrialModel {
 public:
  absl::Status Load(const TrialInputs& inputs) override {
    ASSIGN_OR_RETURN(task_, TextTask::Load(inputs));
    return absl::OkStatus();
  }
  absl::Status Start(const TrialInputs& inputs) override {
    const int order = static_cast<int>(inputs.variant.Int("model.order"));
    const std::vector<HistoryKind> histories = HistoriesOf(inputs.variant);
    if (!histories.empty()) {
      LogLinearSpec spec;
      spec.order = order;
      spec.discounts = DiscountsOf(inputs.variant);
      spec.histories = histories;
      if (inputs.variant.Has("model.history_window")) {
        spec.window = static_cast<int>(inputs.variant.Int("model.history_window"));
      }
      ASSIGN_OR_RETURN(mixture_, HistoryMixture::Fit(spec, task_->data(), *inputs.env.statistics));
      return absl::OkStatus();
    }
    ASSIGN_OR_RETURN(model_, KneserNeyModel::Fit(task_->data().train, task_->data().vocab, order,
                                                 DiscountsOf(inputs.variant)));
    return absl::OkStatus();
  }
  absl::StatusOr<Score> Evaluate(Split split) override {
    if (mixture_.has_value()) {
      Evaluation sum;
      for (const double nats : mixture_->Nats(task_->Stream(split), task_->Targets(split))) {
        ++sum.targets;
        sum.nats += nats;
      }
      return task_->ScoreOf(split, sum, /*has_accuracy=*/false);
    }
    const auto sum = task_->SumNats(
        split, task_->Targets(split), kContext,
        [&](absl::Span<const int32_t> stream, int first) { return model_->Nats(stream, first); });
    return task_->ScoreOf(split, sum, /*has_accuracy=*/false);
  }
  void Describe(std::map<std::string, double>* metrics) const override {
    (*metrics)["model/parameters"] =
        static_cast<double>(mixture_.has_value() ? mixture_->parameters() : model_->parameters());
  }

 private:
  std::optional<TextTask> task_;
  std::optional<KneserNeyModel> model_;
  std::optional<HistoryMixture> mixture_;  // in place of model_ where the document is read
};

}  // namespace

std::unique_ptr<TrialModel> MakeKneserNeyTrial() { return std::make_unique<KneserNeyTrial>(); }

}  // namespace saffron
