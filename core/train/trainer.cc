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
#include "core/train/peak_memory.h"
#include "core/train/polish.h"
#include "core/train/stopwatch.h"
#include "core/train/trial_families.h"

namespace saffron {
namespace {

using Metrics = std::map<std::string, double>;

constexpr std::pair<Split, const char*> kSplits[] = {
    {Split::kTrain, "train"}, {Split::kValid, "valid"}, {Split::kTest, "test"}};

absl::Status CheckNotStopped(const TrialInputs& inputs) {
  return inputs.stopped() ? absl::CancelledError("stopped between phases") : absl::OkStatus();
}

void AddScore(const std::string& split, const Score& score, Metrics* metrics) {
  const std::string prefix = absl::StrCat(split, "/");
  (*metrics)[prefix + "nats_per_token"] = score.nats;
  (*metrics)[prefix + "perplexity"] = std::exp(score.nats);
  if (score.accuracy.has_value()) (*metrics)[prefix + "accuracy"] = *score.accuracy;
  if (score.bits_per_byte.has_value()) (*metrics)[prefix + "bits_per_byte"] = *score.bits_per_byte;
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
absl::Status EvaluateSplits(const char* prefix, TrialModel& model, const TrialInputs& inputs,
                            TrialResult* result, int64_t* evaluated) {
  for (const auto& [split, name] : kSplits) {
    RETURN_IF_ERROR(CheckNotStopped(inputs));
    ASSIGN_OR_RETURN(const Score score, model.Evaluate(split));
    if (!std::isfinite(score.nats)) {
      Diverge(absl::StrCat(prefix, name, "/nats_per_token is ", score.nats), result);
    }
    AddScore(absl::StrCat(prefix, name), score, &result->metrics);
    *evaluated += score.targets;
  }
  return absl::OkStatus();
}

bool IsAtLeastOne(const ResolvedVariant& variant, const char* key) {
  return variant.Has(key) && variant.Int(key) >= 1;
}

// Solve, backpropagate, polish, evaluate.
absl::StatusOr<TrialResult> RunModelTrial(TrialModel& model, const TrialInputs& inputs,
                                          MeasurementSink& sink) {
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
  RETURN_IF_ERROR(model.Start(inputs, /*moments=*/0));
  metrics["time/solve_s"] = phase.Lap();
  RETURN_IF_ERROR(CheckNotStopped(inputs));

  BackpropReport report;
  if (is_tuned) {
    CHECK(model.trainable() != nullptr) << "train.steps is relevant to a model without gradients";
    ASSIGN_OR_RETURN(report, Backpropagate(inputs, *optimizer, *model.trainable(), sink));
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

  model.Describe(&metrics);
  if (is_tuned) {
    metrics["model/parameters_trained"] -= static_cast<double>(report.frozen_parameters);
  } else {
    metrics["model/parameters_trained"] = static_cast<double>(polish.parameters);
  }
  const int64_t stepped = is_tuned ? report.steps_done * inputs.variant.Int("train.batch") : 0;
  metrics["cost/flops"] = CountFlops(inputs.variant, stepped + polish.trained_targets, evaluated);
  AddCacheUse(cache_before, inputs.env.statistics->counters(), &metrics);
  metrics["memory/peak_bytes"] = static_cast<double>(memory.PeakBytes());
  metrics["time/total_s"] = total.Seconds();
  return result;
}

using RunFunction = absl::StatusOr<TrialResult> (*)(const TrialInputs&, MeasurementSink&);

template <std::unique_ptr<TrialModel> (*Make)()>
absl::StatusOr<TrialResult> RunWith(const TrialInputs& inputs, MeasurementSink& sink) {
  const std::unique_ptr<TrialModel> model = Make();
  return RunModelTrial(*model, inputs, sink);
}

absl::StatusOr<TrialResult> RunSoftmaxRegression(const TrialInputs& inputs, MeasurementSink& sink) {
  return inputs.variant.String("model.input") == "pixels" ? RunWith<MakePixelTrial>(inputs, sink)
                                                          : RunWith<MakeOneHotTrial>(inputs, sink);
}

}  // namespace

absl::StatusOr<TrialResult> RunTrial(const ResolvedVariant& variant, uint64_t seed,
                                     const std::string& data_fingerprint, const TrainerEnv& env,
                                     MeasurementSink& sink) {
  static const auto* const families =
      new std::map<std::string, RunFunction>{{"saffu", RunWith<MakeSaffuTrial>},
                                             {"softmax_regression", RunSoftmaxRegression},
                                             {"transformer", RunWith<MakeTransformerTrial>},
                                             {"mlp", RunWith<MakeMlpTrial>},
                                             {"kneser_ney", RunWith<MakeKneserNeyTrial>},
                                             {"log_linear", RunWith<MakeLogLinearTrial>},
                                             {"unigram", RunWith<MakeUnigramTrial>},
                                             {"noop", RunNoopTrial}};
  const auto family = families->find(variant.String("model.type"));
  CHECK(family != families->end()) << "no trainer for " << variant.String("model.type");
  const TrialInputs inputs{variant, seed, data_fingerprint, env};
  try {
    return family->second(inputs, sink);
  } catch (const std::bad_alloc&) {
    return absl::ResourceExhaustedError(
        "out of memory; lower train.batch, model.bits or data.vocab, or give the slot more memory");
  }
}

}  // namespace saffron
