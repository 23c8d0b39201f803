#include "core/train/backprop.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "core/train/polish.h"

namespace saffron {
namespace {

using Params = std::map<std::string, ParamValue>;

// Fits one number p to 3 by squared error; the "validation loss" is a script of the step.
class OneNumber : public Trainable {
 public:
  OneNumber() {
    auto arena = ParameterArena<float>::Create({.parameters = 1, .gradients = 1});
    EXPECT_TRUE(arena.ok());
    arena_ = std::move(*arena);
    arena_.segments().push_back({0, 1, arena_.gradients().data(), false});
  }
  int64_t examples() const override { return 10; }
  double LossAndGradient(absl::Span<const int64_t> examples) override {
    ++steps;
    batch_sizes.push_back(static_cast<int64_t>(examples.size()));
    const double p = arena_.parameters()[0];
    arena_.gradients()[0] = static_cast<float>(gradient_scale * 2 * (p - 3));
    if (steps == fail_at) return std::numeric_limits<double>::quiet_NaN();
    return (p - 3) * (p - 3);
  }
  ParameterArena<float>& arena() override { return arena_; }
  Evaluation EvaluateCurve() override {
    const double nats = curve.empty() ? std::pow(arena_.parameters()[0] - 3, 2)
                                      : curve[std::min(evaluations, curve.size() - 1)];
    ++evaluations;
    parameter_at.push_back(arena_.parameters()[0]);
    return {.targets = 4, .nats = 4 * nats};
  }
  double PriorNats() const override { return 5; }

  int64_t steps = 0;
  int64_t fail_at = -1;
  double gradient_scale = 1;
  std::vector<double> curve;
  size_t evaluations = 0;
  std::vector<float> parameter_at;  // each evaluation
  std::vector<int64_t> batch_sizes;

 private:
  ParameterArena<float> arena_;
};

class Recorder : public MeasurementSink {
 public:
  void Record(const Measurement& m) override { series[m.key].push_back({m.step, m.value}); }
  std::vector<int64_t> Steps(const std::string& key) {
    std::vector<int64_t> steps;
    for (const auto& [step, value] : series[key]) steps.push_back(step);
    return steps;
  }
  std::map<std::string, std::vector<std::pair<int64_t, double>>> series;
};

class BackpropTest : public ::testing::Test {
 protected:
  absl::StatusOr<BackpropReport> Run(Params params) {
    params.emplace("train.optimizer", "sgd");
    params.emplace("train.momentum", 0.0);
    params.emplace("train.lr", 0.05);
    params.emplace("train.schedule", "constant");
    params.emplace("train.batch", int64_t{4});
    const auto variant = ResolvedVariant::Resolve(params);
    EXPECT_TRUE(variant.ok()) << variant.status();
    const std::string fingerprint;
    const TrainerEnv env{.data = nullptr, .statistics = nullptr, .stop = &stop_};
    auto optimizer = MakeOptimizerOf(*variant);
    EXPECT_TRUE(optimizer.ok()) << optimizer.status();
    Beginning beginning;
    return Backpropagate({*variant, 1, fingerprint, env}, beginning, **optimizer, model_,
                         recorder_);
  }
  std::atomic<bool> stop_{false};
  OneNumber model_;
  Recorder recorder_;
};

TEST_F(BackpropTest, DescendsAndDrawsTheCurve) {
  const auto report = Run({{"train.steps", int64_t{50}}});
  ASSERT_TRUE(report.ok()) << report.status();
  EXPECT_FALSE(report->diverged);
  EXPECT_EQ(report->steps_done, 50);
  EXPECT_EQ(report->best_step, 50);
  EXPECT_NEAR(model_.arena().parameters()[0], 3, 0.05);
  EXPECT_EQ(recorder_.Steps("valid/nats_per_token"),
            (std::vector<int64_t>{0, 5, 10, 15, 20, 25, 30, 35, 40, 45, 50}));
  EXPECT_EQ(recorder_.Steps("train/loss"),
            (std::vector<int64_t>{5, 10, 15, 20, 25, 30, 35, 40, 45, 50}));
  EXPECT_DOUBLE_EQ(recorder_.series["valid/nats_per_token"][0].second, 9);
  EXPECT_DOUBLE_EQ(recorder_.series["valid/perplexity"][0].second, std::exp(9.0));
  EXPECT_EQ(model_.batch_sizes, std::vector<int64_t>(50, 4));
  EXPECT_EQ(report->evaluated_targets, 44);
}

TEST_F(BackpropTest, TrainLossIsTheMeanSinceTheEvaluationBefore) {
  ASSERT_TRUE(Run({{"train.steps", int64_t{4}}, {"train.eval_every", int64_t{2}}}).ok());
  // p: 0, .3, .57, .813; losses (p-3)^2.
  const auto& losses = recorder_.series["train/loss"];
  ASSERT_EQ(losses.size(), 2u);
  EXPECT_NEAR(losses[0].second, (9 + 2.7 * 2.7) / 2, 1e-5);
  EXPECT_NEAR(losses[1].second, (2.43 * 2.43 + 2.187 * 2.187) / 2, 1e-5);
}

TEST_F(BackpropTest, TheLastStepIsAlwaysEvaluated) {
  ASSERT_TRUE(Run({{"train.steps", int64_t{7}}, {"train.eval_every", int64_t{3}}}).ok());
  EXPECT_EQ(recorder_.Steps("valid/nats_per_token"), (std::vector<int64_t>{0, 3, 6, 7}));
}

TEST_F(BackpropTest, KeepsTheBestParameters) {
  model_.curve = {4, 2, 3, 3};
  const auto report = Run({{"train.steps", int64_t{6}}, {"train.eval_every", int64_t{2}}});
  ASSERT_TRUE(report.ok());
  EXPECT_EQ(report->best_step, 2);
  EXPECT_EQ(report->steps_done, 6);
  EXPECT_EQ(model_.arena().parameters()[0], model_.parameter_at[1]);
  EXPECT_NE(model_.arena().parameters()[0], model_.parameter_at[3]);
}

TEST_F(BackpropTest, TheStartCanBeTheBest) {
  model_.curve = {1, 2};
  const auto report = Run({{"train.steps", int64_t{6}}});
  ASSERT_TRUE(report.ok());
  EXPECT_EQ(report->best_step, 0);
  EXPECT_EQ(model_.arena().parameters()[0], 0);
}

TEST_F(BackpropTest, KeepsTheLastWhenAsked) {
  model_.curve = {4, 2, 3, 3};
  const auto report =
      Run({{"train.steps", int64_t{6}}, {"train.eval_every", int64_t{2}}, {"train.keep", "last"}});
  ASSERT_TRUE(report.ok());
  EXPECT_EQ(report->best_step, 6);
  EXPECT_EQ(model_.arena().parameters()[0], model_.parameter_at[3]);
}

TEST_F(BackpropTest, StopsEarlyWhenOutOfPatience) {
  model_.curve = {4, 2, 3, 2, 3};
  const auto report = Run({{"train.steps", int64_t{100}},
                           {"train.eval_every", int64_t{2}},
                           {"train.patience", int64_t{2}}});
  ASSERT_TRUE(report.ok());
  EXPECT_EQ(report->steps_done, 6);  // best at 2; no better at 4 and 6
  EXPECT_EQ(report->best_step, 2);
}

TEST_F(BackpropTest, ALossThatIsNotANumberIsDivergence) {
  model_.fail_at = 3;
  const auto report = Run({{"train.steps", int64_t{100}}});
  ASSERT_TRUE(report.ok());
  EXPECT_TRUE(report->diverged);
  EXPECT_EQ(report->message, "train/loss is nan at step 3");
  EXPECT_EQ(report->steps_done, 2);
  EXPECT_EQ(model_.steps, 3);
}

TEST_F(BackpropTest, ALossFarAboveThePriorsIsDivergence) {
  model_.curve = {60, 51};  // a bad start is allowed, a bad course is not; the prior has 5
  const auto report = Run({{"train.steps", int64_t{100}}});
  ASSERT_TRUE(report.ok());
  EXPECT_TRUE(report->diverged);
  EXPECT_EQ(report->steps_done, 10);
  EXPECT_THAT(report->message, ::testing::HasSubstr("at step 10 valid/nats_per_token is 51"));
}

TEST_F(BackpropTest, ARecoveringBadStartIsNot) {
  model_.curve = {60, 49, 4};
  const auto report = Run({{"train.steps", int64_t{100}}});
  ASSERT_TRUE(report.ok());
  EXPECT_FALSE(report->diverged);
}

TEST_F(BackpropTest, LongGradientsAreClipped) {
  model_.gradient_scale = 1000;
  ASSERT_TRUE(Run({{"train.steps", int64_t{1}}, {"train.clip", 2.0}, {"train.keep", "last"}}).ok());
  EXPECT_NEAR(model_.arena().parameters()[0], 0.05 * 2, 1e-6);
}

TEST_F(BackpropTest, StopsWhenTold) {
  stop_ = true;
  const auto report = Run({{"train.steps", int64_t{100}}});
  EXPECT_EQ(report.status().code(), absl::StatusCode::kCancelled);
  EXPECT_EQ(model_.steps, 0);
}

TEST_F(BackpropTest, ScheduleReachesItsFinalRate) {
  // With gradient clipped to 1, p moves by the learning rate: 0.05 * (1 - 0.9 u), u = 1/2, 1.
  ASSERT_TRUE(Run({{"train.steps", int64_t{2}},
                   {"train.clip", 1.0},
                   {"train.schedule", "linear"},
                   {"train.eval_every", int64_t{1}},
                   {"train.keep", "last"}})
                  .ok());
  EXPECT_NEAR(model_.parameter_at[1], 0.05 * 0.55, 1e-6);
  EXPECT_NEAR(model_.parameter_at[2], 0.05 * 0.65, 1e-6);
}

// Two numbers, a and b, each fitted to its example's value by squared error.
class TwoNumbers : public Trainable {
 public:
  TwoNumbers() {
    arena_ = ParameterArena<float>::Create({.parameters = 2, .gradients = 2}).value();
    arena_.segments().push_back({0, 2, arena_.gradients().data(), true});
    arena_.tensors() = {{.name = "a", .begin = 0, .cols = 1, .role = TensorRole::kReadout},
                        {.name = "b", .begin = 1, .cols = 1, .role = TensorRole::kVector}};
  }
  int64_t examples() const override { return 7; }
  double LossAndGradient(absl::Span<const int64_t> examples) override {
    largest_batch = std::max(largest_batch, examples.size());
    const float* p = arena_.parameters().data();
    float* g = arena_.gradients().data();
    g[0] = g[1] = 0;
    double loss = 0;
    const float n = static_cast<float>(examples.size());
    for (const int64_t example : examples) {
      const float a = p[0] - static_cast<float>(example), b = p[1] + static_cast<float>(example);
      loss += (a * a + b * b) / n;
      g[0] += 2 * a / n;
      g[1] += 2 * b / n;
    }
    return loss;
  }
  ParameterArena<float>& arena() override { return arena_; }
  Evaluation EvaluateCurve() override {
    std::vector<int64_t> all = {0, 1, 2, 3, 4, 5, 6};
    const std::vector<float> gradient(arena_.gradients().begin(), arena_.gradients().end());
    const double loss = LossAndGradient(all);
    std::copy(gradient.begin(), gradient.end(), arena_.gradients().begin());
    return {.targets = 1, .nats = loss};
  }
  double PriorNats() const override { return 100; }

  size_t largest_batch = 0;

 private:
  ParameterArena<float> arena_;
};

struct RecipeRun {
  TwoNumbers model;
  Recorder recorder;
  BackpropReport report;
  float a() { return model.arena().parameters()[0]; }
  float b() { return model.arena().parameters()[1]; }
};

ResolvedVariant RecipeOf(Params params) {
  params.emplace("train.optimizer", "sgd");
  params.emplace("train.lr", 0.1);
  params.emplace("train.schedule", "constant");
  params.emplace("train.batch", int64_t{7});
  params.emplace("train.steps", int64_t{20});
  params.emplace("train.keep", "last");
  const auto variant = ResolvedVariant::Resolve(params);
  EXPECT_TRUE(variant.ok()) << variant.status();
  return *variant;
}

absl::Status RunRecipe(const Params& params, RecipeRun* run) {
  const ResolvedVariant variant = RecipeOf(params);
  const std::string fingerprint;
  const TrainerEnv env{};
  auto optimizer = MakeOptimizerOf(variant);
  EXPECT_TRUE(optimizer.ok()) << optimizer.status();
  Beginning beginning;
  auto report = Backpropagate({variant, 1, fingerprint, env}, beginning, **optimizer, run->model,
                              run->recorder);
  if (!report.ok()) return report.status();
  run->report = *std::move(report);
  return absl::OkStatus();
}

TEST(Recipe, PartsOfABatchAddUpToTheBatch) {
  RecipeRun whole, parts;
  ASSERT_TRUE(RunRecipe({}, &whole).ok());
  ASSERT_TRUE(RunRecipe({{"train.accumulate", int64_t{3}}}, &parts).ok());
  EXPECT_NEAR(parts.a(), whole.a(), 1e-5);
  EXPECT_NEAR(parts.b(), whole.b(), 1e-5);
  EXPECT_NEAR(parts.report.train_loss, whole.report.train_loss, 1e-4);
  EXPECT_EQ(LargestBatch(RecipeOf({{"train.accumulate", int64_t{3}}})), 3);
  EXPECT_EQ(LargestBatch(RecipeOf({})), 7);
}

TEST(Recipe, FrozenTensorsStandStill) {
  for (const char* list : {"b", "vector", "*, !readout"}) {
    RecipeRun run;
    ASSERT_TRUE(RunRecipe({{"train.freeze", list}}, &run).ok());
    EXPECT_EQ(run.b(), 0) << list;
    EXPECT_GT(run.a(), 1) << list;
    EXPECT_EQ(run.report.frozen_parameters, 1);
  }
}

TEST(Recipe, APatternThatFitsNothingIsRefused) {
  RecipeRun run;
  const absl::Status status = RunRecipe({{"train.freeze", "layers.0.*"}}, &run);
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(status.message()),
              ::testing::HasSubstr("train.freeze or train.decay_on: no tensor fits"));
}

TEST(Recipe, TheAverageIsKeptAndTheRestReportedAsRaw) {
  RecipeRun raw, averaged;
  ASSERT_TRUE(RunRecipe({}, &raw).ok());
  ASSERT_TRUE(RunRecipe({{"train.ema", 0.9}}, &averaged).ok());
  // p_t of the first run, averaged by the formula.
  EXPECT_NE(averaged.a(), raw.a());
  ASSERT_EQ(averaged.report.unaveraged.size(), 2u);
  EXPECT_EQ(averaged.report.unaveraged[0], raw.a());
  EXPECT_EQ(averaged.recorder.series["raw/valid/nats_per_token"],
            raw.recorder.series["valid/nats_per_token"]);
  EXPECT_NE(averaged.recorder.series["valid/nats_per_token"],
            raw.recorder.series["valid/nats_per_token"]);
}

TEST(Recipe, TheBestAverageComesWithWhatItWasTakenOf) {
  RecipeRun last, best;
  // Ever larger steps: the start of the run is better than its end.
  const Params params = {{"train.ema", 0.5},
                         {"train.lr", 0.99},
                         {"train.eval_every", int64_t{1}},
                         {"train.steps", int64_t{4}}};
  Params keep_best = params;
  keep_best["train.keep"] = "best";
  ASSERT_TRUE(RunRecipe(params, &last).ok());
  ASSERT_TRUE(RunRecipe(keep_best, &best).ok());
  ASSERT_LT(best.report.best_step, last.report.best_step);
  EXPECT_NE(best.report.unaveraged, last.report.unaveraged);
  const auto& curve = best.recorder.series["valid/nats_per_token"];
  EXPECT_NEAR(best.model.EvaluateCurve().nats, curve[best.report.best_step].second, 1e-4);
}

TEST(Polish, FindsTheReadoutsOptimumAndLeavesTheRest) {
  TwoNumbers model;
  Recorder recorder;
  const ResolvedVariant variant = *ResolvedVariant::Resolve(
      {{"train.polish", int64_t{20}}, {"train.polish_examples", int64_t{100}}});
  const std::string fingerprint;
  const TrainerEnv env{};
  const auto report = Polish({variant, 1, fingerprint, env}, model, recorder);
  ASSERT_TRUE(report.ok()) << report.status();
  EXPECT_NEAR(model.arena().parameters()[0], 3, 1e-5);
  EXPECT_EQ(model.arena().parameters()[1], 0);
  EXPECT_LT(report->loss, report->start_loss);
  EXPECT_EQ(report->parameters, 1);
  EXPECT_GE(report->best_iteration, 1);
  EXPECT_EQ(recorder.series["polish/valid_nats_per_token"].size(),
            static_cast<size_t>(report->iterations) + 1);
}

TEST(Polish, KeepsTheStartWhereValidationLikesItBetter) {
  OneNumber model;  // no tensors of role readout: choose by name
  model.arena().tensors() = {{.name = "p", .cols = 1}};
  model.curve = {1, 2, 3};
  Recorder recorder;
  const ResolvedVariant variant =
      *ResolvedVariant::Resolve({{"train.polish", int64_t{20}}, {"train.polish_on", "p"}});
  const std::string fingerprint;
  const TrainerEnv env{};
  const auto report = Polish({variant, 1, fingerprint, env}, model, recorder);
  ASSERT_TRUE(report.ok()) << report.status();
  EXPECT_EQ(report->best_iteration, 0);
  EXPECT_EQ(model.arena().parameters()[0], 0);
}

TEST(Polish, TensorsThatAreNotThereAreRefused) {
  TwoNumbers model;
  Recorder recorder;
  const ResolvedVariant variant =
      *ResolvedVariant::Resolve({{"train.polish", int64_t{20}}, {"train.polish_on", "hidden"}});
  const std::string fingerprint;
  const TrainerEnv env{};
  const auto report = Polish({variant, 1, fingerprint, env}, model, recorder);
  EXPECT_EQ(report.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(report.status().message()),
              ::testing::HasSubstr("train.polish_on: no tensor fits \"hidden\""));
}

TEST(EvaluationInterval, IsATenthOfTheRunButNotLessThanFiveSteps) {
  const auto interval = [](int64_t steps, int64_t every) {
    return EvaluationInterval(
        *ResolvedVariant::Resolve({{"train.steps", steps}, {"train.eval_every", every}}));
  };
  EXPECT_EQ(interval(300, 0), 30);
  EXPECT_EQ(interval(97, 0), 10);
  EXPECT_EQ(interval(8, 0), 5);
  EXPECT_EQ(interval(300, 7), 7);
}

}  // namespace
}  // namespace saffron
