// What a trial leaves when it diverges.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>

#include "core/checkpoint/safetensors.h"
#include "core/train/stored_model.h"
#include "tests/unit/core_train/tiny_corpus.h"

namespace saffron {
namespace {

class DivergenceTest : public TinyCorpusTest {
 protected:
  struct Left {
    TrialResult result;
    std::vector<Measurement> curve;
    std::map<std::string, SavedCheckpoint> saved;  // by role
    std::pair<int64_t, double> best() const {
      std::pair<int64_t, double> best = {-1, HUGE_VAL};
      for (const Measurement& m : curve) {
        if (m.key == "valid/nats_per_token" && m.value < best.second) best = {m.step, m.value};
      }
      return best;
    }
  };

  Left Run(const std::string& name, const Params& params) {
    TrainerEnv env{.data = &data_, .statistics = &cache_};
    Left left;
    env.checkpoints.prefix = root_ + "/" + name;
    env.checkpoints.every_s = 0;  // a state before every step
    env.checkpoints.share = 1e9;
    env.checkpoints.keep = {"best", "last"};
    env.checkpoints.on_saved = [&](const absl::StatusOr<SavedCheckpoint>& saved) {
      ASSERT_TRUE(saved.ok()) << saved.status();
      EXPECT_TRUE(saved->role.empty() || left.saved.count(saved->role) == 0) << saved->role;
      left.saved[saved->role] = *saved;
    };
    Recorder recorder;
    auto result = RunTrial(MustResolve(Small(params)), 3, fingerprint_, env, recorder);
    EXPECT_TRUE(result.ok()) << result.status();
    if (result.ok()) left.result = *std::move(result);
    left.curve = recorder.measurements;
    return left;
  }

  // A rate that grows step by step, until it is far too large.
  static Params Warming(const std::string& keep) {
    return {{"model.type", "transformer"},    {"model.hidden_width", int64_t{8}},
            {"model.heads", int64_t{2}},      {"model.mlp_width", int64_t{16}},
            {"model.window", int64_t{16}},    {"train.steps", int64_t{200}},
            {"train.eval_every", int64_t{1}}, {"train.optimizer", "sgd"},
            {"train.momentum", 0.0},          {"train.lr", 100.0},
            {"train.warmup", int64_t{200}},   {"train.keep", keep}};
  }

  static std::map<std::string, std::string> Tensors(const std::string& path) {
    const auto file = SafetensorsFile::Open(path);
    EXPECT_TRUE(file.ok()) << file.status();
    std::map<std::string, std::string> tensors;
    if (!file.ok()) return tensors;
    for (const auto& [name, tensor] : (*file)->content().tensors()) {
      const auto bytes = (*file)->content().Tensor(name)->bytes;
      tensors[name] = {bytes.begin(), bytes.end()};
    }
    return tensors;
  }
};

TEST_F(DivergenceTest, LeavesTheBestModelThatItHad) {
  for (const char* keep : {"best", "last"}) {
    Left left = Run("diverging", Warming(keep));
    ASSERT_EQ(left.result.outcome, TrainOutcome::kDiverged) << keep;
    const int64_t step = left.best().first;
    ASSERT_GT(step, 2);
    EXPECT_LT(step, left.result.metrics.at("train/steps_done"));
    ASSERT_EQ(left.saved.count("best"), 1u) << keep;
    EXPECT_EQ(left.saved["best"].step, step);
    // Those of the state at that step.
    const auto model = Tensors(left.saved["best"].path),
               state = Tensors(root_ + "/diverging-" + std::to_string(step) + ".safetensors");
    EXPECT_FALSE(model.empty());
    for (const auto& [name, values] : model) {
      ASSERT_EQ(state.count(name), 1u) << name;
      EXPECT_EQ(values, state.at(name)) << name;
    }
    const auto stored =
        StoredModel::Open(left.saved["best"].path, {.data = &data_, .statistics = &cache_});
    ASSERT_TRUE(stored.ok()) << stored.status();
    const auto valid = (*stored)->Evaluate(Split::kValid);
    ASSERT_TRUE(valid.ok()) << valid.status();
    EXPECT_NEAR(valid->at("valid/nats_per_token"), left.best().second, 0.5);
  }
}

// Every number in what is left is one.
TEST_F(DivergenceTest, LeavesItsLastStateWhereThatIsFinite) {
  for (const int64_t eval_every : {1, 1000}) {
    Params params = Warming("last");
    params["train.eval_every"] = eval_every;
    if (eval_every > 1) params["train.l2"] = 1.0;  // until numbers overflow
    Left left = Run("diverging", params);
    ASSERT_EQ(left.result.outcome, TrainOutcome::kDiverged);
    ASSERT_EQ(left.saved.count("last"), 1u);
    for (const auto& [name, bytes] : Tensors(left.saved["last"].path)) {
      if (name.rfind("curve.", 0) == 0) continue;
      const float* values = reinterpret_cast<const float*>(bytes.data());
      EXPECT_TRUE(std::all_of(values, values + bytes.size() / sizeof(float), [](float x) {
        return std::isfinite(x);
      })) << name;
    }
    if (eval_every == 1) {
      EXPECT_EQ(left.saved["last"].step, left.result.metrics.at("train/steps_done"));
    }
  }
}

// A trial that starts from the last checkpoint of one that diverged starts from a model that works.
TEST_F(DivergenceTest, WhereTheLastStateIsNotFiniteTheLastGoodModelStandsForIt) {
  Params params = Warming("last");
  params["train.eval_every"] = int64_t{20};
  params["train.l2"] = 1.0;  // until numbers overflow
  Left left = Run("diverging", params);
  ASSERT_EQ(left.result.outcome, TrainOutcome::kDiverged);
  ASSERT_EQ(left.saved.count("last"), 1u);
  const auto [step, nats] = left.best();
  ASSERT_LT(step, left.result.metrics.at("train/steps_done"));
  EXPECT_EQ(left.saved["last"].step, step);
  EXPECT_EQ(Tensors(left.saved["last"].path), Tensors(left.saved["best"].path));

  params["train.lr"] = 0.001;
  params["train.l2"] = 0.0;
  TrainerEnv env{.data = &data_, .statistics = &cache_};
  env.init_from = StartFrom{.path = left.saved["last"].path};
  Recorder recorder;
  const auto child = RunTrial(MustResolve(Small(params)), 3, fingerprint_, env, recorder);
  ASSERT_TRUE(child.ok()) << child.status();
  EXPECT_EQ(child->outcome, TrainOutcome::kSucceeded);
  EXPECT_EQ(child->metrics.at("init/step"), static_cast<double>(step));
  const auto first = std::find_if(
      recorder.measurements.begin(), recorder.measurements.end(),
      [](const Measurement& m) { return m.key == "valid/nats_per_token" && m.step == 0; });
  ASSERT_NE(first, recorder.measurements.end());
  EXPECT_EQ(first->value, nats);
}

TEST_F(DivergenceTest, WhatIsKeptChangesNothingThatIsReported) {
  for (const char* keep : {"best", "last"}) {
    const Left kept = Run("kept", Warming(keep));
    Recorder recorder;
    const auto result = RunTrial(MustResolve(Small(Warming(keep))), 3, fingerprint_,
                                 {.data = &data_, .statistics = &cache_}, recorder);
    ASSERT_TRUE(result.ok()) << result.status();
    EXPECT_EQ(result->message, kept.result.message);
    for (const char* key : {"train/best_step", "train/steps_done"}) {
      EXPECT_EQ(result->metrics.at(key), kept.result.metrics.at(key)) << keep;
    }
  }
}

}  // namespace
}  // namespace saffron
