// model.type log_linear: n-grams, skips and document history in one softmax, solved in closed form;
// after that parts of it can be trained, or a network beside it.

#include <algorithm>
#include <numeric>

#include "absl/strings/str_cat.h"
#include "core/base/check.h"
#include "core/base/status_macros.h"
#include "core/log_linear/history_mixture.h"
#include "core/log_linear/log_linear_model.h"
#include "core/train/block_bootstrap.h"
#include "core/train/evidence_network.h"
#include "core/train/solve_choices.h"
#include "core/train/text_task.h"
#include "core/train/trained_solution.h"
#include "core/train/trial_families.h"

namespace saffron {
namespace {

// Learning curves of networks are drawn on runs of targets, which share their contexts.
constexpr size_t kRun = 32, kCurveEvery = 6;
// Two scales need few.
constexpr size_t kScalesEvery = 24;

// Every `every`-th run.
std::vector<int64_t> Runs(const std::vector<int64_t>& targets, size_t every) {
  std::vector<int64_t> some;
  for (size_t n = 0; n < targets.size(); ++n) {
    if (n / kRun % every == 0) some.push_back(targets[n]);
  }
  return some;
}

absl::StatusOr<LogLinearSpec> SpecOf(const ResolvedVariant& variant) {
  LogLinearSpec spec;
  spec.order = static_cast<int>(variant.Int("model.order"));
  spec.discounts = DiscountsOf(variant);
  ASSIGN_OR_RETURN(spec.templates, ParseTemplates(variant.String("model.templates")));
  spec.histories = HistoriesOf(variant);
  if (variant.Has("model.history_window"))
    spec.window = static_cast<int>(variant.Int("model.history_window"));
  spec.unigram = variant.Bool("model.unigram_gain");
  spec.dense = DenseStreamsOf(variant);
  spec.seen_gains = variant.Bool("model.seen_gains");
  spec.gains_by_count = variant.String("model.gain_classes") == "count";
  spec.calibrated = variant.String("solve.gains") == "calibrated";
  if (spec.calibrated) {
    spec.gain_min = variant.Double("solve.gain_min");
    spec.gain_prior = variant.Double("solve.gain_prior");
    spec.refolded = variant.Bool("solve.refold");
  }
  return spec;
}

// What steps train where there is no network, by model.trained.
struct Entry {
  const char* name;
  absl::StatusOr<std::unique_ptr<TrainedPart>> (*make)(LogLinearModel& model,
                                                       absl::Span<const int32_t> train);
};
constexpr Entry kTrained[] = {
    {"gains", &TrainedGains}, {"rows", &TrainedRows}, {"dense", &TrainedDense}};

absl::StatusOr<std::unique_ptr<TrainedPart>> MakeTrained(const std::string& name,
                                                         LogLinearModel& model,
                                                         absl::Span<const int32_t> train) {
  for (const Entry& entry : kTrained) {
    if (name == entry.name) return entry.make(model, train);
  }
  CHECK(false) << "nothing to train: " << name;
  return nullptr;
}

class LogLinearTrial : public TrialModel, public Trainable {
 public:
  absl::Status Load(const TrialInputs& inputs) override {
    ASSIGN_OR_RETURN(task_, TextTask::Load(inputs));
    return absl::OkStatus();
  }

  absl::Status Start(const TrialInputs& inputs) override {
    const ResolvedVariant& variant = inputs.variant;
    ASSIGN_OR_RETURN(spec_, SpecOf(variant));
    statistics_ = inputs.env.statistics;
    ASSIGN_OR_RETURN(LogLinearModel solved,
                     LogLinearModel::Solve(spec_, task_->data(), *statistics_));
    model_ = std::make_unique<LogLinearModel>(std::move(solved));
    if (variant.Int("train.steps") == 0) return absl::OkStatus();
    if (variant.String("model.network") == "none") {
      ASSIGN_OR_RETURN(trained_,
                       MakeTrained(variant.String("model.trained"), *model_, task_->data().train));
      return absl::OkStatus();
    }
    return StartNetwork(inputs);
  }

  absl::Status StartNetwork(const TrialInputs& inputs) {
    const ResolvedVariant& variant = inputs.variant;
    EvidenceNetwork::Options options;
    options.join = variant.String("model.join") == "product" ? Join::kProduct : Join::kMixture;
    options.network = variant.String("model.network");
    options.width = static_cast<int>(variant.Int("model.network_width"));
    options.layers = static_cast<int>(variant.Int("model.network_layers"));
    options.context = static_cast<int>(variant.Int("model.network_context"));
    if (variant.Has("model.network_dropout")) {
      options.dropout = variant.Double("model.network_dropout");
      options.tied = variant.Bool("model.network_tied");
    }
    if (options.join == Join::kProduct) {
      options.evidence_scale = variant.Double("model.evidence_scale");
      options.network_scale = variant.Double("model.network_scale");
      fits_scales_ = variant.String("model.scales") == "fitted";
      options.train_gains = variant.String("model.evidence") == "trained";
      alone_steps_ = static_cast<int64_t>(variant.Double("model.network_alone") *
                                          static_cast<double>(variant.Int("train.steps")));
    }
    options.seed = inputs.seed;
    options.data = &task_->data();
    options.statistics = statistics_;
    is_mixture_ = options.join == Join::kMixture;
    ASSIGN_OR_RETURN(std::unique_ptr<EvidenceNetwork> network,
                     EvidenceNetwork::Create(*model_, task_->data().train, options));
    network_ = network.get();
    trained_ = std::move(network);
    return absl::OkStatus();
  }

  Trainable* trainable() override { return trained_ != nullptr ? this : nullptr; }

  absl::StatusOr<Score> Evaluate(Split split) override {
    // Chosen on the validation split, for the parameters that were kept.
    if (split == Split::kTrain) FitJoin();
    const auto targets = split == Split::kTrain ? TrainTargets() : task_->Targets(split);
    const std::vector<double> nats = NatsOn(split, targets);
    if (split == Split::kTest && spec_.order > 1) RETURN_IF_ERROR(CompareWithControl(nats));
    return task_->ScoreOf(split, Sum(nats), /*has_accuracy=*/false);
  }

  void Describe(std::map<std::string, double>* metrics) const override {
    const int64_t trained =
        trained_ != nullptr ? trained_->parameters() : int64_t{model_->shape().gains};
    (*metrics)["model/parameters"] = static_cast<double>(
        model_->parameters() + (network_ != nullptr ? trained - network_->trained_gains() : 0));
    (*metrics)["model/parameters_trained"] = static_cast<double>(trained);
    for (const auto& [key, gain] : model_->MeanGains()) {
      (*metrics)[absl::StrCat("solve/gain/", key)] = gain;
    }
    if (model_->fit().targets > 0) (*metrics)["solve/holdout_nats"] = model_->fit().nats;
    if (lead_.has_value()) {
      (*metrics)["test/lead"] = lead_->mean;
      (*metrics)["test/lead_low"] = lead_->low;
      (*metrics)["test/lead_high"] = lead_->high;
    }
    if (is_mixture_) (*metrics)["solve/mixture_weight"] = network_->mixture_weight();
    if (fits_scales_) {
      (*metrics)["solve/evidence_scale"] = network_->evidence_scale();
      (*metrics)["solve/network_scale"] = network_->network_scale();
    }
  }

  int64_t examples() const override { return static_cast<int64_t>(task_->data().train.size()); }
  void BeginStep(int64_t step) override {
    if (network_ != nullptr) network_->set_alone(step > 0 && step <= alone_steps_);
  }
  double LossAndGradient(absl::Span<const int64_t> examples) override {
    return trained_->LossAndGradient(examples);
  }
  ParameterArena<float>& arena() override { return trained_->arena(); }
  Evaluation EvaluateCurve() override {
    FitJoin();
    return Sum(NatsOn(Split::kValid, CurveTargets()));
  }
  double PriorNats() const override { return task_->PriorNats(); }

 private:
  std::vector<int64_t> CurveTargets() const {
    return network_ != nullptr ? Runs(task_->Targets(Split::kValid), kCurveEvery)
                               : task_->CurveTargets();
  }
  // As many as the task's own.
  std::vector<int64_t> TrainTargets() const {
    if (network_ == nullptr) return task_->Targets(Split::kTrain);
    // A network needs a token to look back at.
    std::vector<int64_t> all(task_->data().train.size() - 1);
    std::iota(all.begin(), all.end(), 1);
    return Runs(all, std::max<size_t>(1, all.size() / task_->Targets(Split::kTrain).size()));
  }
  void FitJoin() {
    const auto stream = task_->Stream(Split::kValid);
    if (is_mixture_) network_->FitMixture(stream, CurveTargets());
    if (fits_scales_) {
      network_->FitScales(stream, Runs(task_->Targets(Split::kValid), kScalesEvery));
    }
  }

  std::vector<double> NatsOn(Split split, const std::vector<int64_t>& targets) {
    // So that what is said of the gains is of the present ones.
    if (network_ != nullptr && network_->trained_gains() > 0) {
      model_->set_gains(network_->TrainedGains());
    }
    const auto stream = task_->Stream(split);
    // What was counted is scored as if it had not been: else counting alone would look perfect.
    const Counted counted =
        split == Split::kTrain && spec_.refolded ? Counted::kLeftOut : Counted::kAsIs;
    return trained_ != nullptr ? trained_->Nats(stream, targets, counted)
                               : model_->Nats(stream, targets, counted);
  }

  static Evaluation Sum(const std::vector<double>& nats) {
    Evaluation sum;
    for (const double n : nats) {
      ++sum.targets;
      sum.nats += n;
    }
    return sum;
  }

  // The same n-grams, mixed linearly with the same histories.
  absl::Status CompareWithControl(const std::vector<double>& nats) {
    ASSIGN_OR_RETURN(const HistoryMixture control,
                     HistoryMixture::Fit(spec_, task_->data(), *statistics_));
    std::vector<double> lead =
        control.Nats(task_->Stream(Split::kTest), task_->Targets(Split::kTest));
    for (size_t n = 0; n < lead.size(); ++n) lead[n] -= nats[n];
    lead_ = BlockBootstrap(lead);
    return absl::OkStatus();
  }

  std::optional<TextTask> task_;
  std::unique_ptr<LogLinearModel> model_;
  std::unique_ptr<TrainedPart> trained_;  // where there are steps
  EvidenceNetwork* network_ = nullptr;    // the same, where it is one
  bool is_mixture_ = false, fits_scales_ = false;
  int64_t alone_steps_ = 0;  // the first ones, of the network without evidence
  LogLinearSpec spec_;
  StatisticsCache* statistics_ = nullptr;
  std::optional<Interval> lead_;  // over the control, on the test split
};

}  // namespace

std::unique_ptr<TrialModel> MakeLogLinearTrial() { return std::make_unique<LogLinearTrial>(); }

}  // namespace saffron
