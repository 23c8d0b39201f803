#include "core/train/backprop.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "absl/strings/str_cat.h"
#include "core/base/status_macros.h"
#include "core/optim/schedule.h"
#include "core/train/batch_order.h"
#include "core/train/checkpoint_pace.h"
#include "core/train/stopwatch.h"
#include "core/train/training_state.h"

namespace saffron {
namespace {

// A loss this many times that of token frequencies is a blow-up.
constexpr double kBlowUp = 10;

absl::StatusOr<Schedule> MakeScheduleOf(const ResolvedVariant& variant) {
  ScheduleConfig config;
  config.steps = variant.Int("train.steps");
  config.warmup = variant.Int("train.warmup");
  if (variant.Has("train.final_lr")) config.final_fraction = variant.Double("train.final_lr");
  return Schedule::Make(variant.String("train.schedule"), config);
}

class Run {
 public:
  Run(const TrialInputs& inputs, Optimizer<float>& optimizer, Schedule schedule, Trainable& model,
      MeasurementSink& sink)
      : inputs_(inputs),
        optimizer_(optimizer),
        schedule_(schedule),
        model_(model),
        sink_(sink),
        order_(inputs.seed, model.examples()),
        steps_(inputs.variant.Int("train.steps")),
        batch_(inputs.variant.Int("train.batch")),
        lr_(inputs.variant.Double("train.lr")),
        clip_(inputs.variant.Double("train.clip")),
        interval_(EvaluationInterval(inputs.variant)),
        prior_nats_(model.PriorNats()),
        keep_best_(inputs.variant.String("train.keep") == "best"),
        patience_(inputs.variant.Int("train.patience")),
        pace_(inputs.env.checkpoints) {
    state_.best_nats = std::numeric_limits<double>::infinity();
  }

  absl::StatusOr<BackpropReport> Go() {
    if (inputs_.env.resume_from.empty()) {
      Evaluate(0);
    } else {
      RETURN_IF_ERROR(Resume());
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
  void Diverge(std::string message) {
    diverged_ = true;
    why_ = std::move(message);
  }

  void Record(Measurement measurement) {
    sink_.Record(measurement);
    state_.curve.push_back(std::move(measurement));
  }

  absl::Status Resume() {
    absl::StatusOr<TrainingState> state =
        ReadTrainingState(inputs_.env.resume_from, inputs_, model_.arena());
    if (absl::IsFailedPrecondition(state.status())) return state.status();
    if (!state.ok()) return absl::DataLossError(state.status().message());
    state_ = *std::move(state);
    model_.ArenaRestored();
    optimizer_.ResumeAt(state_.step);
    for (const Measurement& measurement : state_.curve) sink_.Record(measurement);
    pace_.Begin(state_.step);
    return absl::OkStatus();
  }

  void Save() {
    const Stopwatch watch;
    const std::string path =
        absl::StrCat(inputs_.env.checkpoints.prefix, "-", state_.step, ".safetensors");
    const absl::StatusOr<WrittenFile> written =
        WriteTrainingState(path, inputs_, state_, model_.arena());
    pace_.Saved(state_.step, watch.Seconds());
    if (!inputs_.env.checkpoints.on_saved) return;
    if (!written.ok()) return inputs_.env.checkpoints.on_saved(written.status());
    inputs_.env.checkpoints.on_saved(
        SavedCheckpoint{path, written->sha256, written->bytes, state_.step});
  }

  void Step(int64_t step) {
    order_.Batch(step - 1, batch_, &examples_);
    const double loss = model_.LossAndGradient(examples_);
    if (!std::isfinite(loss)) {
      state_.train_loss = loss;
      return Diverge(absl::StrCat("train/loss is ", loss, " at step ", step));
    }
    if (clip_ > 0) ClipGlobalNorm(model_.arena(), clip_);
    optimizer_.Step(model_.arena(), lr_ * schedule_.Factor(step));
    state_.loss_sum += loss;
    ++state_.losses;
    state_.step = step;
  }

  void Evaluate(int64_t step) {
    const Stopwatch watch;
    if (state_.losses > 0) {
      state_.train_loss = state_.loss_sum / static_cast<double>(state_.losses);
      Record({"train/loss", step, state_.train_loss});
      state_.loss_sum = 0;
      state_.losses = 0;
    }
    const Evaluation curve = model_.EvaluateCurve();
    const double nats = curve.nats_per_target();
    Record({"valid/nats_per_token", step, nats});
    Record({"valid/perplexity", step, std::exp(nats)});
    state_.evaluated_targets += curve.targets;
    // A start may be far off and recover; what training has made worse than this will not.
    const double worst = step > 0 ? std::max(nats, state_.train_loss) : 0;
    if (!std::isfinite(nats) || worst > kBlowUp * prior_nats_) {
      Diverge(absl::StrCat("at step ", step, " valid/nats_per_token is ", nats, " and train/loss ",
                           state_.train_loss, ", while token frequencies alone give ",
                           prior_nats_));
    } else {
      Offer(step, nats);
    }
    state_.evaluate_seconds += watch.Seconds();
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
    if (!keep_best_) return;
    const absl::Span<const float> parameters = model_.arena().parameters();
    state_.best_parameters.assign(parameters.begin(), parameters.end());
  }

  // Puts the parameters to keep into the arena.
  BackpropReport Report() {
    BackpropReport report;
    report.diverged = diverged_;
    report.message = why_;
    report.steps_done = report.best_step = state_.step;
    report.evaluated_targets = state_.evaluated_targets;
    report.train_loss = state_.train_loss;
    report.train_seconds = state_.train_seconds;
    report.evaluate_seconds = state_.evaluate_seconds;
    if (state_.best_parameters.empty()) return report;
    if (state_.best_step != state_.step) {
      std::copy(state_.best_parameters.begin(), state_.best_parameters.end(),
                model_.arena().parameters().begin());
    }
    report.best_step = state_.best_step;
    return report;
  }

  const TrialInputs& inputs_;
  Optimizer<float>& optimizer_;
  const Schedule schedule_;
  Trainable& model_;
  MeasurementSink& sink_;
  const BatchOrder order_;
  const int64_t steps_, batch_;
  const double lr_, clip_;
  const int64_t interval_;
  const double prior_nats_;
  const bool keep_best_;
  const int64_t patience_;
  CheckpointPace pace_;
  TrainingState state_;
  bool diverged_ = false;
  std::string why_;
  std::vector<int64_t> examples_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<Optimizer<float>>> MakeOptimizerOf(const ResolvedVariant& variant) {
  OptimizerConfig config;
  const std::pair<const char*, double*> settings[] = {{"train.momentum", &config.momentum},
                                                      {"train.beta1", &config.beta1},
                                                      {"train.beta2", &config.beta2},
                                                      {"train.epsilon", &config.epsilon},
                                                      {"train.weight_decay", &config.weight_decay}};
  for (const auto& [key, field] : settings) {
    if (variant.Has(key)) *field = variant.Double(key);
  }
  return MakeOptimizer<float>(variant.String("train.optimizer"), config);
}

int64_t EvaluationInterval(const ResolvedVariant& variant) {
  const int64_t every = variant.Int("train.eval_every"), steps = variant.Int("train.steps");
  return every > 0 ? every : std::max<int64_t>(5, (steps + 9) / 10);
}

absl::StatusOr<BackpropReport> Backpropagate(const TrialInputs& inputs, Optimizer<float>& optimizer,
                                             Trainable& model, MeasurementSink& sink) {
  ASSIGN_OR_RETURN(const Schedule schedule, MakeScheduleOf(inputs.variant));
  return Run(inputs, optimizer, schedule, model, sink).Go();
}

}  // namespace saffron
