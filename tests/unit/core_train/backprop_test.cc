#include "core/train/backprop.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

namespace saffron {
namespace {

using Params = std::map<std::string, ParamValue>;

// Fits one number p to 3 by squared error; the "validation loss" is a script of the step.
class OneNumber : public Trainable {
 public:
  OneNumber() {
    auto arena = ParameterArena<float>::Create({.parameters = 1, .gradients = 1, .moments = 1});
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
    return Backpropagate({*variant, 1, fingerprint, env}, **optimizer, model_, recorder_);
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
