#include "core/train/trainer.h"

#include <algorithm>
#include <cmath>
#include <memory>
#include <new>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/base/check.h"
#include "core/base/status_macros.h"
#include "core/model/registry.h"
#include "core/train/backprop.h"
#include "core/train/checkpoint_writer.h"
#include "core/train/peak_memory.h"
#include "core/train/polish.h"
#include "core/train/score_metrics.h"
#include "core/train/stopwatch.h"
#include "core/train/trial_families.h"

namespace saffron {
namespace {

using Metrics = std::map<std::string, double>;

absl::Status CheckNotStopped(const TrialInputs& inputs) {
  return inputs.stopped() ? absl::CancelledError("stopped between phases") : absl::OkStatus();
}

void AddBackprop(const ResolvedVariant& variant, const BackpropReport& report, Metrics* metrics) {
  (*metrics)["train/loss"] = report.train_loss;
  (*metrics)["train/steps_done"] = static_cast<double>(report.steps_done);
  (*metrics)["train/best_step"] = static_cast<double>(report.best_step);
  const double targets = static_cast<double>(report.steps_done * variant.Int("train.batch"));
  if (report.train_seconds > 0) {
    (*metrics)["time/tokens_per_s"] = targets / report.train_seconds;
  }
}

void AddPolish(const PolishReport& report, Metrics* metrics) {
  (*metrics)["polish/loss"] = report.loss;
  (*metrics)["polish/iterations"] = static_cast<double>(report.iterations);
  (*metrics)["polish/best_iteration"] = static_cast<double>(report.best_iteration);
}

void AddCacheUse(const StatisticsCache::Counters& before, const StatisticsCache::Counters& after,
                 Metrics* metrics) {
  const auto add = [metrics](const char* key, int64_t count) {
    (*metrics)[key] = static_cast<double>(count);
  };
  add("cache/memory_hits", after.memory_hits - before.memory_hits);
  add("cache/disk_hits", after.disk_hits - before.disk_hits);
  add("cache/misses", after.misses - before.misses);
}

// Training takes three forward passes a target, evaluation one.
double CountFlops(const ResolvedVariant& variant, int64_t trained, int64_t evaluated) {
  const CostEstimate cost = EstimateCost(variant);
  return cost.solve_flops + cost.target_flops * static_cast<double>(3 * trained + evaluated);
}

void Diverge(const std::string& why, TrialResult* result) {
  result->outcome = TrainOutcome::kDiverged;
  result->message = why;
}

// Adds the scores, by metric keys that begin with `prefix`, and how many targets were evaluated.
absl::Status EvaluateSplits(const std::string& prefix, TrialModel& model, const TrialInputs& inputs,
                            TrialResult* result, int64_t* evaluated) {
  for (const Split split : {Split::kTrain, Split::kValid, Split::kTest}) {
    RETURN_IF_ERROR(CheckNotStopped(inputs));
    ASSIGN_OR_RETURN(const Score score, model.Evaluate(split));
    if (!std::isfinite(score.nats)) {
      Diverge(absl::StrCat(prefix, SplitName(split), "/nats_per_token is ", score.nats), result);
    }
    AddScore(prefix + SplitName(split), score, &result->metrics);
    *evaluated += score.targets;
  }
  return absl::OkStatus();
}

// The model that the metrics are of; of a trial that diverged, its last good one. It stands for the
// last one, too, where no step was made or the last state, or its loss, is not finite.
void KeepModel(TrialModel& model, int64_t step, bool has_last, const TrialInputs& inputs) {
  const CheckpointWriter checkpoints(inputs);
  Trainable* const trainable = model.trainable();
  if (trainable == nullptr) return;
  if (checkpoints.Keeps("best")) checkpoints.SaveModel("best", step, *trainable);
  if (!has_last && checkpoints.Keeps("last")) checkpoints.SaveModel("last", step, *trainable);
}

void KeepRouting(const TrialModel& model, int64_t step, const TrialInputs& inputs) {
  const CheckpointWriter checkpoints(inputs);
  if (model.routing() == nullptr || !checkpoints.keeps_routing()) return;
  checkpoints.SaveRouting(step, *model.routing());
}

bool IsAtLeastOne(const ResolvedVariant& variant, const char* key) {
  return variant.Has(key) && variant.Int(key) >= 1;
}

// Solve, backpropagate, polish, evaluate.
absl::StatusOr<TrialResult> RunModelTrial(TrialModel& model, const TrialInputs& inputs,
                                          Beginning& beginning, MeasurementSink& sink) {
  const Stopwatch total;
  const PeakMemoryMeter memory;
  const StatisticsCache::Counters cache_before = inputs.env.statistics->counters();
  const bool is_tuned = IsAtLeastOne(inputs.variant, "train.steps");
  const bool is_polished = IsAtLeastOne(inputs.variant, "train.polish");
  TrialResult result;
  Metrics& metrics = result.metrics;

  Stopwatch phase;
  RETURN_IF_ERROR(model.Load(inputs));
  metrics["time/data_s"] = phase.Lap();
  RETURN_IF_ERROR(CheckNotStopped(inputs));

  std::unique_ptr<Optimizer<float>> optimizer;
  if (is_tuned) {
    ASSIGN_OR_RETURN(optimizer, MakeOptimizerOf(inputs.variant));
  }
  RETURN_IF_ERROR(model.Start(inputs));
  if (beginning.given()) {
    CHECK(model.trainable() != nullptr) << "CheckStart lets no such model pass";
    RETURN_IF_ERROR(beginning.Fill(*model.trainable()));
  }
  metrics["time/solve_s"] = phase.Lap();
  RETURN_IF_ERROR(CheckNotStopped(inputs));

  BackpropReport report;
  if (is_tuned) {
    CHECK(model.trainable() != nullptr) << "train.steps is relevant to a model without gradients";
    ASSIGN_OR_RETURN(report,
                     Backpropagate(inputs, beginning, *optimizer, *model.trainable(), sink));
    AddBackprop(inputs.variant, report, &metrics);
  }
  metrics["time/train_s"] = report.train_seconds;

  phase.Lap();
  PolishReport polish;
  if (is_polished && !report.diverged) {
    CHECK(model.trainable() != nullptr) << "train.polish is relevant to a model without gradients";
    ASSIGN_OR_RETURN(polish, Polish(inputs, *model.trainable(), sink));
    AddPolish(polish, &metrics);
    metrics["time/polish_s"] = phase.Lap();
  }
  int64_t evaluated = report.evaluated_targets + polish.evaluated_targets;
  if (report.diverged) {
    Diverge(report.message, &result);
  } else {
    RETURN_IF_ERROR(EvaluateSplits("", model, inputs, &result, &evaluated));
  }
  if (!report.diverged && !report.unaveraged.empty()) {
    const absl::Span<float> parameters = model.trainable()->arena().parameters();
    std::swap_ranges(parameters.begin(), parameters.end(), report.unaveraged.begin());
    RETURN_IF_ERROR(EvaluateSplits("raw/", model, inputs, &result, &evaluated));
    std::swap_ranges(parameters.begin(), parameters.end(), report.unaveraged.begin());
  }
  metrics["time/evaluate_s"] = report.evaluate_seconds + phase.Lap();

  // Without backpropagation a start that is no good is all there is.
  const bool succeeded = result.outcome == TrainOutcome::kSucceeded;
  if (succeeded || (is_tuned && report.has_good)) {
    KeepModel(model, report.model_step, report.has_last, inputs);
  }
  if (succeeded) KeepRouting(model, report.best_step, inputs);
  model.Describe(&metrics);
  beginning.Describe(&metrics);
  if (is_tuned) {
    metrics["model/parameters_trained"] -= static_cast<double>(report.frozen_parameters);
  } else {
    metrics["model/parameters_trained"] = static_cast<double>(polish.parameters);
  }
  const int64_t stepped = is_tuned ? report.steps_done * inputs.variant.Int("train.batch") : 0;
  metrics["cost/flops"] = CountFlops(inputs.variant, stepped + polish.trained_targets, evaluated);
  AddCacheUse(cache_before, inputs.env.statistics->counters(), &metrics);
  metrics["memory/peak_bytes"] = static_cast<double>(memory.PeakBytes());
  metrics["time/total_s"] = total.Seconds() + report.earlier_seconds;
  return result;
}

std::unique_ptr<TrialModel> MakeSoftmaxRegressionTrial(const ResolvedVariant& variant) {
  return variant.String("model.input") == "pixels" ? MakePixelTrial() : MakeOneHotTrial();
}

template <std::unique_ptr<TrialModel> (*Make)()>
std::unique_ptr<TrialModel> MakeAny(const ResolvedVariant&) {
  return Make();
}

}  // namespace

std::unique_ptr<TrialModel> MakeTrialModel(const ResolvedVariant& variant) {
  using Maker = std::unique_ptr<TrialModel> (*)(const ResolvedVariant&);
  static const auto* const families =
      new std::map<std::string, Maker>{{"saffu", MakeAny<MakeSaffuTrial>},
                                       {"softmax_regression", MakeSoftmaxRegressionTrial},
                                       {"transformer", MakeAny<MakeTransformerTrial>},
                                       {"mlp", MakeAny<MakeMlpTrial>},
                                       {"kneser_ney", MakeAny<MakeKneserNeyTrial>},
                                       {"log_linear", MakeAny<MakeLogLinearTrial>},
                                       {"unigram", MakeAny<MakeUnigramTrial>}};
  const auto family = families->find(variant.String("model.type"));
  return family == families->end() ? nullptr : family->second(variant);
}

absl::StatusOr<TrialResult> RunTrial(const ResolvedVariant& variant, uint64_t seed,
                                     const std::string& data_fingerprint, const TrainerEnv& env,
                                     MeasurementSink& sink) {
  try {
    if (variant.String("model.type") == "noop") {
      return RunNoopTrial({variant, seed, data_fingerprint, env}, sink);
    }
    ASSIGN_OR_RETURN(Beginning beginning, Beginning::Find(variant, seed, data_fingerprint, env));
    const TrialInputs inputs{
        variant,          seed, data_fingerprint, env, beginning.given(), beginning.shape(),
        &beginning.init()};
    const std::unique_ptr<TrialModel> model = MakeTrialModel(variant);
    CHECK(model != nullptr) << "no trainer for " << variant.String("model.type");
    return RunModelTrial(*model, inputs, beginning, sink);
  } catch (const std::bad_alloc&) {
    return absl::ResourceExhaustedError(
        "out of memory; lower train.batch, model.bits or data.vocab, or give the slot more memory");
  }
}

}  // namespace saffron
