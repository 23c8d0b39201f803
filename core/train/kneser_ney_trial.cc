// model.type kneser_ney: interpolated n-grams.

#include "core/base/status_macros.h"
#include "core/solve/kneser_ney.h"
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
  absl::Status Start(const TrialInputs& inputs, int) override {
    const bool modified = inputs.variant.String("model.discounts") == "modified";
    ASSIGN_OR_RETURN(model_,
                     KneserNeyModel::Fit(task_->data().train, task_->data().vocab,
                                         static_cast<int>(inputs.variant.Int("model.order")),
                                         modified ? Discounts::kModified : Discounts::kSingle));
    return absl::OkStatus();
  }
  absl::StatusOr<Score> Evaluate(Split split) override {
    const auto sum = task_->SumNats(
        split, task_->Targets(split), kContext,
        [&](absl::Span<const int32_t> stream, int first) { return model_->Nats(stream, first); });
    return task_->ScoreOf(split, sum, /*has_accuracy=*/false);
  }
  void Describe(std::map<std::string, double>* metrics) const override {
    (*metrics)["model/parameters"] = static_cast<double>(model_->parameters());
  }

 private:
  std::optional<TextTask> task_;
  std::optional<KneserNeyModel> model_;
};

}  // namespace

std::unique_ptr<TrialModel> MakeKneserNeyTrial() { return std::make_unique<KneserNeyTrial>(); }

}  // namespace saffron
