// model.type saffu: self-attentive feed-forward units, solved explicitly or drawn at random.

#include <utility>

#include "absl/strings/str_cat.h"
#include "core/base/check.h"
#include "core/base/status_macros.h"
#include "core/layers/saffu_init.h"
#include "core/layers/saffu_layer.h"
#include "core/solve/saffu_solve.h"
#include "core/train/solve_choices.h"
#include "core/train/text_task.h"
#include "core/train/trial_families.h"

namespace saffron {
namespace {

FeatureKind FeatureKindOf(const ResolvedVariant& variant) {
  static const auto* const kinds = new std::map<std::string, FeatureKind>{
      {"l1", FeatureKind::kL1}, {"binary", FeatureKind::kBinary}, {"noisy", FeatureKind::kNoisy}};
  return kinds->at(variant.String("model.features"));
}

absl::StatusOr<SaffuSolveSpec> SpecOf(const ResolvedVariant& variant, uint64_t seed) {
  const auto whole = [&](const char* key, int* field) {
    if (variant.Has(key)) *field = static_cast<int>(variant.Int(key));
  };
  SaffuSolveSpec spec;
  whole("model.bits", &spec.bits);
  whole("model.context", &spec.context);
  whole("model.context_lags", &spec.context_lags);
  whole("model.radius", &spec.radius);
  whole("model.layers", &spec.layers);
  whole("model.width", &spec.width);
  ASSIGN_OR_RETURN(spec.streams, ParseStreams(variant.String("model.streams")));
  spec.features = FeatureKindOf(variant);
  if (variant.Has("model.noise")) spec.noise = variant.Double("model.noise");
  spec.head = variant.String("model.head") == "sum" ? Head::kSum : Head::kConcat;
  spec.attention = variant.String("model.attention") == "solved";
  if (variant.String("train.init") == "explicit") {
    spec.gains = GainModeOf(variant);
    spec.alpha = variant.Double("solve.alpha");
    spec.kappa = variant.Double("solve.kappa");
  }
  spec.seed = seed;
  return spec;
}

class SaffuTrial : public TrialModel, public Trainable {
 public:
  absl::Status Load(const TrialInputs& inputs) override {
    ASSIGN_OR_RETURN(task_, TextTask::Load(inputs));
    return absl::OkStatus();
  }

  absl::Status Start(const TrialInputs& inputs) override {
    ASSIGN_OR_RETURN(const SaffuSolveSpec spec, SpecOf(inputs.variant, inputs.seed));
    StatisticsCache& cache = *inputs.env.statistics;
    std::shared_ptr<const FeatureTables> features;
    std::vector<SaffuLayerParams<float>> params;
    if (inputs.variant.String("train.init") == "explicit") {
      ASSIGN_OR_RETURN(SaffuSolution solution, SolveSaffu(spec, task_->data(), cache));
      features = std::move(solution.features);
      Remember(solution.layers.back());
      for (SaffuLayerSolution& layer : solution.layers) params.push_back(std::move(layer.params));
    } else {
      ASSIGN_OR_RETURN(features, BuildFeatures(spec, task_->data(), cache));
      params = RandomSaffuParams(SaffuShapes(spec, task_->data().vocab), inputs.seed);
    }
    fixed_parameters_ = features->context.size() + static_cast<int64_t>(params.size());
    SaffuNetwork<float>::Options options;
    ASSIGN_OR_RETURN(network_, SaffuNetwork<float>::Create(params, std::move(features), options));
    return absl::OkStatus();
  }

  Trainable* trainable() override { return this; }

  absl::StatusOr<Score> Evaluate(Split split) override {
    return task_->ScoreOf(split, EvaluateOn(split, task_->Targets(split)), /*has_accuracy=*/true);
  }

  absl::StatusOr<std::vector<double>> NextTokenNats(absl::Span<const int32_t> tokens) override {
    return task_->NextNats(tokens, [this](absl::Span<const int32_t> stream) {
      const std::vector<int64_t> last = {static_cast<int64_t>(stream.size()) - 1};
      return network_->Evaluate(stream, last).nats;
    });
  }

  void Describe(std::map<std::string, double>* metrics) const override {
    metrics->insert(solved_.begin(), solved_.end());
    (*metrics)["model/parameters"] =
        static_cast<double>(network_->num_parameters() + fixed_parameters_);
    (*metrics)["model/parameters_trained"] = static_cast<double>(network_->num_parameters());
  }

  int64_t examples() const override { return static_cast<int64_t>(task_->data().train.size()); }
  double LossAndGradient(absl::Span<const int64_t> examples) override {
    return network_->LossAndGradient(task_->Stream(Split::kTrain), examples);
  }
  ParameterArena<float>& arena() override { return network_->arena(); }
  Evaluation EvaluateCurve() override { return EvaluateOn(Split::kValid, task_->CurveTargets()); }
  double PriorNats() const override { return task_->PriorNats(); }

 private:
  // What the solution of the top layer chose.
  void Remember(const SaffuLayerSolution& top) {
    solved_["solve/alpha"] = top.alpha;
    solved_["solve/kappa"] = top.kappa;
    if (top.params.shape.attention) solved_["solve/gamma"] = top.gamma;
    CHECK(top.gains.size() == top.params.shape.keys.size()) << "a gain for every key";
    for (size_t k = 0; k < top.gains.size(); ++k) {
      solved_["solve/gain/" + KeyName(top.params.shape.keys[k])] = top.gains[k];
    }
  }

  Evaluation EvaluateOn(Split split, const std::vector<int64_t>& targets) {
    return network_->Evaluate(task_->Stream(split), targets);
  }

  std::optional<TextTask> task_;
  std::unique_ptr<SaffuNetwork<float>> network_;
  std::map<std::string, double> solved_;
  // Beside what is trained: the context vectors of all types and each layer's gain. Cipher codes
  // follow from a type's rank and are not counted.
  int64_t fixed_parameters_ = 0;
};

}  // namespace

std::unique_ptr<TrialModel> MakeSaffuTrial() { return std::make_unique<SaffuTrial>(); }

}  // namespace saffron
