// model.type unigram: token frequencies.

#include "core/base/status_macros.h"
#include "core/solve/unigram.h"
#include "core/train/text_task.h"
#include "core/train/trial_families.h"

namespace saffron {
namespace {

class UnigramTrial : public TrialModel {
 public:
  absl::Status Load(const TrialInputs& inputs) override {
    ASSIGN_OR_RETURN(task_, TextTask::Load(inputs));
    return absl::OkStatus();
  }
  absl::Status Start(const TrialInputs&) override {
    model_ = UnigramModel::Fit(task_->data().train, task_->data().vocab);
    return absl::OkStatus();
  }
  absl::StatusOr<Score> Evaluate(Split split) override {
    const auto sum = task_->SumNats(
        split, task_->Targets(split), /*context=*/0,
        [&](absl::Span<const int32_t> stream, int first) { return model_.Nats(stream, first); });
    return task_->ScoreOf(split, sum, /*has_accuracy=*/false);
  }
  void Describe(std::map<std::string, double>* metrics) const override {
    (*metrics)["model/parameters"] = static_cast<double>(model_.parameters());
  }

 private:
  std::optional<TextTask> task_;
  UnigramModel model_;
};

}  // namespace

std::unique_ptr<TrialModel> MakeUnigramTrial() { return std::make_unique<UnigramTrial>(); }

}  // namespace saffron
