#include "core/train/backprop.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <optional>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "core/base/status_macros.h"
#include "core/optim/gradient_sum.h"
#include "core/optim/parameter_average.h"
#include "core/optim/parameter_groups.h"
#include "core/optim/schedule.h"
#include "core/train/batch_order.h"
#include "core/train/beginning.h"
#include "core/train/checkpoint_pace.h"
#include "core/train/checkpoint_writer.h"
#include "core/train/stopwatch.h"
#include "core/train/training_state.h"

namespace saffron {
namespace {

// A loss this many times that of token frequencies is a blow-up.
constexpr double kBlowUp = 10;

absl::StatusOr<Schedule> MakeScheduleOf(const ResolvedVariant& variant) {
  ScheduleConfig config;
  config.steps = variant.Int("train.steps");
  if (variant.Has("train.warmup")) config.warmup = variant.Int("train.warmup");
  if (variant.Has("train.final_lr")) config.final_fraction = variant.Double("train.final_lr");
  if (variant.Has("train.decay_fraction")) {
    static const auto* const shapes =
        new std::map<std::string, DecayShape>{{"linear", DecayShape::kLinear},
                                              {"cosine", DecayShape::kCosine},
                                              {"root", DecayShape::kRoot}};
    config.decay_fraction = variant.Double("train.decay_fraction");
    config.decay_shape = shapes->at(variant.String("train.decay_shape"));
  }
  // A rate that follows from the step's number has no schedule.
  const std::string name =
      variant.Has("train.schedule") ? variant.String("train.schedule") : "constant";
  return Schedule::Make(name, config);
}

absl::StatusOr<ParameterGroups<float>> MakeGroupsOf(const ResolvedVariant& variant,
                                                    const std::vector<ParameterTensor>& tensors) {
  static const auto* const rules = new std::map<std::string, DecayRule>{
      {"matrices", DecayRule::kMatrices}, {"hidden", DecayRule::kHidden}, {"all", DecayRule::kAll}};
  ASSIGN_OR_RETURN(const TensorPatterns freeze,
                   TensorPatterns::Parse(variant.String("train.freeze")));
  const DecayRule decay = variant.Has("train.decay_on")
                              ? rules->at(variant.String("train.decay_on"))
                              : DecayRule::kMatrices;
  absl::StatusOr<ParameterGroups<float>> groups =
      ParameterGroups<float>::Make(tensors, freeze, decay);
  if (groups.ok()) return groups;
  return absl::Status(groups.status().code(),
                      absl::StrCat("train.freeze or train.decay_on: ", groups.status().message()));
}

// Beside the optimiser, what a recipe does to gradients and parameters.
struct Extras {
  ParameterGroups<float> groups;
  std::optional<GradientSum<float>> sum;
  std::optional<ParameterAverage<float>> average;
};

absl::StatusOr<Extras> MakeExtras(const ResolvedVariant& variant,
                                  const ParameterArena<float>& arena) {
  Extras extras;
  ASSIGN_OR_RETURN(extras.groups, MakeGroupsOf(variant, arena.tensors()));
  if (variant.Int("train.accumulate") > 1) {
    ASSIGN_OR_RETURN(extras.sum,
                     GradientSum<float>::Create(static_cast<int64_t>(arena.parameters().size())));
  }
  if (variant.Double("train.ema") > 0) {
    ASSIGN_OR_RETURN(extras.average, ParameterAverage<float>::Start(arena.parameters(),
                                                                    variant.Double("train.ema")));
  }
  return extras;
}

class Run {
 public:
  Run(const TrialInputs& inputs, Optimizer<float>& optimizer, Schedule schedule, Extras extras,
      Trainable& model, MeasurementSink& sink)
      : inputs_(inputs),
        optimizer_(optimizer),
        schedule_(schedule),
        extras_(std::move(extras)),
        model_(model),
        sink_(sink),
        order_(inputs.seed, model.examples()),
        steps_(inputs.variant.Int("train.steps")),
        batch_(inputs.variant.Int("train.batch") / model.targets_per_example()),
        parts_(inputs.variant.Int("train.accumulate")),
        lr_(inputs.variant.Has("train.lr") ? inputs.variant.Double("train.lr") : 1),
        clip_(inputs.variant.Double("train.clip")),
        interval_(EvaluationInterval(inputs.variant)),
        prior_nats_(model.PriorNats()),
        keep_best_(inputs.variant.String("train.keep") == "best"),
        patience_(inputs.variant.Int("train.patience")),
        checkpoints_(inputs),
        remember_best_(keep_best_ || checkpoints_.Keeps("best") || checkpoints_.Keeps("last")),
        pace_(inputs.env.checkpoints) {
    state_.best_nats = std::numeric_limits<double>::infinity();
    state_.optimizer_steps = optimizer.steps_done();
  }

  absl::StatusOr<BackpropReport> Go() {
    if (inputs_.env.resume_from.empty()) {
      Evaluate(0);
    } else {
      RETURN_IF_ERROR(Resume());
      earlier_seconds_ = state_.train_seconds + state_.evaluate_seconds;
    }
    Stopwatch watch;
    for (int64_t step = state_.step + 1; step <= steps_ && !diverged_; ++step) {
      if (inputs_.stopped()) {
        state_.train_seconds += watch.Lap();
        if (pace_.WorthHandingBack(state_.step) && inputs_.hands_back()) Save();
        return absl::CancelledError(absl::StrCat("stopped after ", step - 1, " steps"));
      }
      if (pace_.IsDue(state_.step)) {
        state_.train_seconds += watch.Lap();
        Save();
        watch.Lap();
      }
      Step(step);
      if (diverged_ || (step % interval_ != 0 && step != steps_)) continue;
      state_.train_seconds += watch.Lap();
      Evaluate(step);
      watch.Lap();
      if (patience_ > 0 && state_.evaluations_since >= patience_) break;
    }
    state_.train_seconds += watch.Seconds();
    return Report();
  }

 private:
  // `loss` is what the present parameters give.
  void Diverge(double loss, std::string message) {
    diverged_ = true;
    predicts_ = std::isfinite(loss);
    why_ = std::move(message);
  }

  void Record(Measurement measurement) {
    sink_.Record(measurement);
    state_.curve.push_back(std::move(measurement));
  }

  absl::Status Resume() {
    absl::StatusOr<TrainingState> state =
        ReadTrainingState(inputs_.env.resume_from, inputs_, Memory());
    if (absl::IsFailedPrecondition(state.status())) return state.status();
    if (!state.ok()) return absl::DataLossError(state.status().message());
    state_ = *std::move(state);
    model_.ArenaRestored();
    optimizer_.RestoreSteps(state_.optimizer_steps);
    for (const Measurement& measurement : state_.curve) sink_.Record(measurement);
    pace_.Begin(state_.step);
    return absl::OkStatus();
  }

  RunMemory Memory() { return {model_, optimizer_, Averaged()}; }
  // The moving average, empty when there is none.
  absl::Span<float> Averaged() {
    return extras_.average.has_value() ? extras_.average->values() : absl::Span<float>();
  }
  // Exchanges the parameters with their average, where there is one.
  void SwapAveraged() {
    if (extras_.average.has_value()) extras_.average->Swap(model_.arena().parameters());
  }

  void Save() {
    const Stopwatch watch;
    checkpoints_.SaveState(state_, Memory());
    pace_.Saved(state_.step, watch.Seconds());
  }

  void Step(int64_t step) {
    order_.Batch(step - 1, batch_, &examples_);
    model_.BeginStep(step);
    const double loss = LossAndGradient();
    if (!std::isfinite(loss)) {
      state_.train_loss = loss;
      return Diverge(loss, absl::StrCat("train/loss is ", loss, " at step ", step));
    }
    if (clip_ > 0) ClipGlobalNorm(model_.arena(), clip_);
    optimizer_.Step(model_.arena(), lr_ * schedule_.Factor(step));
    state_.optimizer_steps = optimizer_.steps_done();
    if (extras_.average.has_value()) extras_.average->Add(model_.arena().parameters(), step);
    state_.loss_sum += loss;
    ++state_.losses;
    state_.step = step;
  }

  // Of the batch in examples_, taken whole or in parts.
  double LossAndGradient() {
    ParameterArena<float>& arena = model_.arena();
    double loss = 0;
    if (!extras_.sum.has_value()) {
      loss = model_.LossAndGradient(examples_);
    } else {
      const absl::Span<const int64_t> all = examples_;
      for (int64_t part = 0; part < parts_; ++part) {
        const int64_t begin = batch_ * part / parts_, end = batch_ * (part + 1) / parts_;
        const double share = static_cast<double>(end - begin) / static_cast<double>(batch_);
        extras_.sum->Restore(arena);
        loss += share * model_.LossAndGradient(all.subspan(begin, end - begin));
        extras_.sum->Add(arena, share, /*first=*/part == 0);
      }
      extras_.sum->Install(arena);
    }
    extras_.groups.Apply(arena);
    return loss;
  }

  void Evaluate(int64_t step) {
    const Stopwatch watch;
    if (state_.losses > 0) {
      state_.train_loss = state_.loss_sum / static_cast<double>(state_.losses);
      Record({"train/loss", step, state_.train_loss});
      state_.loss_sum = 0;
      state_.losses = 0;
    }
    double nats = CurveNats();
    if (extras_.average.has_value()) {
      Record({"raw/valid/nats_per_token", step, nats});
      SwapAveraged();
      nats = CurveNats();
    }
    Record({"valid/nats_per_token", step, nats});
    Record({"valid/perplexity", step, std::exp(nats)});
    // A start may be far off and recover; what training has made worse than this will not.
    const double worst = step > 0 ? std::max(nats, state_.train_loss) : 0;
    if (!std::isfinite(nats) || worst > kBlowUp * prior_nats_) {
      Diverge(nats, absl::StrCat("at step ", step, " valid/nats_per_token is ", nats,
                                 " and train/loss ", state_.train_loss,
                                 ", while token frequencies alone give ", prior_nats_));
    } else {
      Offer(step, nats);
    }
    SwapAveraged();
    state_.evaluate_seconds += watch.Seconds();
  }

  double CurveNats() {
    const Evaluation curve = model_.EvaluateCurve();
    state_.evaluated_targets += curve.targets;
    return curve.nats_per_target();
  }

  // Remembers the present parameters if they are the best so far.
  void Offer(int64_t step, double nats) {
    if (!(nats < state_.best_nats)) {
      ++state_.evaluations_since;
      return;
    }
    state_.best_nats = nats;
    state_.evaluations_since = 0;
    state_.best_step = step;
    if (!remember_best_) return;
    const absl::Span<const float> parameters = model_.arena().parameters();
    state_.best_parameters.assign(parameters.begin(), parameters.end());
    state_.best_unaveraged.assign(Averaged().begin(), Averaged().end());
  }

  // Whether the present parameters, their average and the optimiser's state are numbers.
  bool IsFinite() {
    const auto all = [](absl::Span<const float> values) {
      return std::all_of(values.begin(), values.end(), [](float x) { return std::isfinite(x); });
    };
    const std::vector<StateArray<float>> state = optimizer_.State();
    return all(model_.arena().parameters()) && all(Averaged()) &&
           std::all_of(state.begin(), state.end(),
                       [&](const StateArray<float>& array) { return all(array.values); });
  }

  // Puts the parameters to keep into the arena: of a run that diverged, the best before.
  BackpropReport Report() {
    BackpropReport report;
    report.diverged = diverged_;
    report.message = why_;
    report.steps_done = report.best_step = state_.step;
    report.evaluated_targets = state_.evaluated_targets;
    report.train_loss = state_.train_loss;
    report.train_seconds = state_.train_seconds;
    report.evaluate_seconds = state_.evaluate_seconds;
    report.earlier_seconds = earlier_seconds_;
    report.has_last = checkpoints_.Keeps("last") && (!diverged_ || (predicts_ && IsFinite()));
    if (report.has_last) checkpoints_.SaveState(state_, Memory(), "last");
    report.frozen_parameters = extras_.groups.frozen_parameters();
    SwapAveraged();
    report.has_good = !diverged_ || !state_.best_parameters.empty();
    // What is remembered for checkpoints alone has no part in what is reported.
    if (keep_best_ && !state_.best_parameters.empty()) report.best_step = state_.best_step;
    report.model_step = state_.step;
    if ((keep_best_ || diverged_) && !state_.best_parameters.empty()) {
      report.model_step = state_.best_step;
      if (state_.best_step != state_.step) {
        std::copy(state_.best_parameters.begin(), state_.best_parameters.end(),
                  model_.arena().parameters().begin());
        std::copy(state_.best_unaveraged.begin(), state_.best_unaveraged.end(), Averaged().begin());
      }
    }
    report.unaveraged.assign(Averaged().begin(), Averaged().end());
    return report;
  }

  const TrialInputs& inputs_;
  Optimizer<float>& optimizer_;
  const Schedule schedule_;
  Extras extras_;
  Trainable& model_;
  MeasurementSink& sink_;
  const BatchOrder order_;
  const int64_t steps_, batch_, parts_;
  const double lr_, clip_;
  const int64_t interval_;
  const double prior_nats_;
  const bool keep_best_;
  const int64_t patience_;
  const CheckpointWriter checkpoints_;
  // A run that keeps its last parameters, too, falls back on the best should it diverge.
  const bool remember_best_;
  CheckpointPace pace_;
  TrainingState state_;
  double earlier_seconds_ = 0;
  bool diverged_ = false;
  bool predicts_ = true;  // a loss that is a number
  std::string why_;
  std::vector<int64_t> examples_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<Optimizer<float>>> MakeOptimizerOf(const ResolvedVariant& variant) {
  OptimizerConfig config;
  const std::pair<const char*, double*> numbers[] = {
      {"train.momentum", &config.momentum},
      {"train.l2", &config.l2},
      {"train.beta1", &config.beta1},
      {"train.beta2", &config.beta2},
      {"train.epsilon", &config.epsilon},
      {"train.weight_decay", &config.weight_decay},
      {"train.update_clip", &config.update_clip},
      {"train.update_momentum", &config.update_momentum},
      {"train.muon_momentum", &config.muon_momentum}};
  for (const auto& [key, field] : numbers) {
    if (variant.Has(key)) *field = variant.Double(key);
  }
  const std::pair<const char*, bool*> switches[] = {
      {"train.nesterov", &config.nesterov}, {"train.scale_parameter", &config.scale_parameter}};
  for (const auto& [key, field] : switches) {
    if (variant.Has(key)) *field = variant.Bool(key);
  }
  if (variant.Has("train.factored_min")) config.factored_min = variant.Int("train.factored_min");
  if (variant.Has("train.step_size")) {
    config.relative_step = variant.String("train.step_size") == "relative";
  }
  if (variant.Has("train.muon_lr")) {
    config.muon_rate = variant.Double("train.muon_lr") / variant.Double("train.lr");
  }
  return MakeOptimizer<float>(variant.String("train.optimizer"), config);
}

int64_t EvaluationInterval(const ResolvedVariant& variant) {
  const int64_t every = variant.Int("train.eval_every"), steps = variant.Int("train.steps");
  return every > 0 ? every : std::max<int64_t>(5, (steps + 9) / 10);
}

int64_t LargestBatch(const ResolvedVariant& variant) {
  constexpr int64_t kWithoutSteps = 1024;
  if (!variant.Has("train.batch")) return kWithoutSteps;
  const int64_t parts = variant.Int("train.accumulate");
  return (variant.Int("train.batch") + parts - 1) / parts;
}

absl::StatusOr<BackpropReport> Backpropagate(const TrialInputs& inputs, Beginning& beginning,
                                             Optimizer<float>& optimizer, Trainable& model,
                                             MeasurementSink& sink) {
  ASSIGN_OR_RETURN(const Schedule schedule, MakeScheduleOf(inputs.variant));
  RETURN_IF_ERROR(optimizer.Prepare(model.arena()));
  RETURN_IF_ERROR(beginning.Carry(optimizer));
  ASSIGN_OR_RETURN(Extras extras, MakeExtras(inputs.variant, model.arena()));
  return Run(inputs, optimizer, schedule, std::move(extras), model, sink).Go();
}

}  // namespace saffron
