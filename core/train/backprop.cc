#include "core/train/backprop.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "absl/strings/str_cat.h"
#include "core/base/status_macros.h"
#include "core/optim/schedule.h"
#include "core/train/batch_order.h"
#include "core/train/stopwatch.h"

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

// The parameters worth keeping, and whether there is still hope of better ones.
class BestSoFar {
 public:
  BestSoFar(bool keep_best, int64_t patience) : keep_best_(keep_best), patience_(patience) {}

  void Offer(int64_t step, double nats, ParameterArena<float>& arena) {
    if (!(nats < best_nats_)) {
      ++evaluations_since_;
      return;
    }
    best_nats_ = nats;
    evaluations_since_ = 0;
    best_step_ = step;
    if (keep_best_) parameters_.assign(arena.parameters().begin(), arena.parameters().end());
  }
  bool OutOfPatience() const { return patience_ > 0 && evaluations_since_ >= patience_; }

  // Puts the parameters to keep into the arena, which holds those of step `last`; returns their
  // step.
  int64_t Restore(int64_t last, ParameterArena<float>& arena) const {
    if (!keep_best_ || parameters_.empty()) return last;
    if (best_step_ != last) {
      std::copy(parameters_.begin(), parameters_.end(), arena.parameters().begin());
    }
    return best_step_;
  }

 private:
  bool keep_best_;
  int64_t patience_;
  double best_nats_ = std::numeric_limits<double>::infinity();
  int64_t evaluations_since_ = 0;
  int64_t best_step_ = 0;
  std::vector<float> parameters_;
};

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
        best_(inputs.variant.String("train.keep") == "best", inputs.variant.Int("train.patience")) {
  }

  absl::StatusOr<BackpropReport> Go() {
    Evaluate(0);
    Stopwatch watch;
    for (int64_t step = 1; step <= steps_ && !report_.diverged; ++step) {
      if (inputs_.stopped()) {
        return absl::CancelledError(absl::StrCat("stopped after ", step - 1, " steps"));
      }
      Step(step);
      if (report_.diverged || (step % interval_ != 0 && step != steps_)) continue;
      report_.train_seconds += watch.Lap();
      Evaluate(step);
      watch.Lap();
      if (best_.OutOfPatience()) break;
    }
    report_.train_seconds += watch.Seconds();
    report_.best_step = best_.Restore(report_.steps_done, model_.arena());
    return report_;
  }

 private:
  void Diverge(std::string message) {
    report_.diverged = true;
    report_.message = std::move(message);
  }

  void Step(int64_t step) {
    order_.Batch(step - 1, batch_, &examples_);
    const double loss = model_.LossAndGradient(examples_);
    if (!std::isfinite(loss)) {
      report_.train_loss = loss;
      return Diverge(absl::StrCat("train/loss is ", loss, " at step ", step));
    }
    if (clip_ > 0) ClipGlobalNorm(model_.arena(), clip_);
    optimizer_.Step(model_.arena(), lr_ * schedule_.Factor(step));
    loss_sum_ += loss;
    ++losses_;
    report_.steps_done = step;
  }

  void Evaluate(int64_t step) {
    const Stopwatch watch;
    if (losses_ > 0) {
      report_.train_loss = loss_sum_ / static_cast<double>(losses_);
      sink_.Record({"train/loss", step, report_.train_loss});
      loss_sum_ = 0;
      losses_ = 0;
    }
    const Evaluation curve = model_.EvaluateCurve();
    const double nats = curve.nats_per_target();
    sink_.Record({"valid/nats_per_token", step, nats});
    sink_.Record({"valid/perplexity", step, std::exp(nats)});
    report_.evaluated_targets += curve.targets;
    // A start may be far off and recover; what training has made worse than this will not.
    const double worst = step > 0 ? std::max(nats, report_.train_loss) : 0;
    if (!std::isfinite(nats) || worst > kBlowUp * prior_nats_) {
      Diverge(absl::StrCat("at step ", step, " valid/nats_per_token is ", nats, " and train/loss ",
                           report_.train_loss, ", while token frequencies alone give ",
                           prior_nats_));
    } else {
      best_.Offer(step, nats, model_.arena());
    }
    report_.evaluate_seconds += watch.Seconds();
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
  BestSoFar best_;
  BackpropReport report_;
  std::vector<int64_t> examples_;
  double loss_sum_ = 0;
  int64_t losses_ = 0;
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
