// Interrupted runs: whatever happens on the way, the numbers are those of a run left alone.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <bit>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "core/checkpoint/safetensors.h"
#include "core/data/files.h"
#include "core/math/bf16_gemm.h"
#include "core/model/registry.h"
#include "tests/unit/core_train/tiny_corpus.h"

namespace saffron {
namespace {

using ::testing::HasSubstr;

// What must be the same: bits of deterministic metrics and of the learning curve.
std::vector<std::string> BitsOf(const TrialResult& result, const Recorder& recorder) {
  std::vector<std::string> lines;
  const auto line = [](const std::string& key, int64_t step, double value) {
    return key + " " + std::to_string(step) + " " + std::to_string(std::bit_cast<uint64_t>(value));
  };
  for (const auto& [key, value] : result.metrics) {
    const MetricSpec* spec = FindMetric(key);
    if (spec != nullptr && spec->deterministic) lines.push_back(line(key, -1, value));
  }
  for (const Measurement& m : recorder.measurements) lines.push_back(line(m.key, m.step, m.value));
  return lines;
}

class ResumeTest : public TinyCorpusTest {
 protected:
  struct Ended {
    absl::Status status;
    std::vector<std::string> bits;
    TrialResult result;
  };

  static constexpr int64_t kNever = -1;
  // A run that goes on from `from` (empty: from the start), leaves its state before every step, and
  // is stopped as soon as it left that of step `stop_at`.
  Ended Run(const Params& params, const std::string& from, int64_t stop_at) {
    return Run(params, from, stop_at, Prefix());
  }
  // One that leaves nothing behind.
  Ended RunOn(const Params& params, const std::string& from) {
    return Run(params, from, kNever, "");
  }
  Ended Run(const Params& params, const std::string& from, int64_t stop_at,
            const std::string& prefix) {
    std::atomic<bool> stop = false;
    TrainerEnv env{.data = &data_, .statistics = &cache_, .stop = &stop};
    env.resume_from = from;
    env.checkpoints.prefix = prefix;
    env.checkpoints.every_s = 0;
    env.checkpoints.share = 1e9;
    env.checkpoints.on_saved = [&](const absl::StatusOr<SavedCheckpoint>& saved) {
      ASSERT_TRUE(saved.ok()) << saved.status();
      saved_.push_back(*saved);
      if (saved->step == stop_at) stop = true;
    };
    Recorder recorder;
    const auto result = RunTrial(MustResolve(Small(params)), 3, fingerprint_, env, recorder);
    Ended ended{result.status(), {}, {}};
    if (!result.ok()) return ended;
    ended.bits = BitsOf(*result, recorder);
    ended.result = *result;
    return ended;
  }
  std::string Prefix() const { return root_ + "/t1-a1"; }
  std::string StateAt(int64_t step) const {
    return Prefix() + "-" + std::to_string(step) + ".safetensors";
  }

  std::vector<SavedCheckpoint> saved_;
};

const std::vector<Params>& Trainables() {
  static auto* const all = new std::vector<Params>{
      {{"train.optimizer", "adam"}},
      {{"train.optimizer", "adamw"}, {"train.weight_decay", 0.1}, {"train.keep", "last"}},
      {{"train.optimizer", "sgd"}, {"train.clip", 0.01}, {"train.patience", int64_t{2}}},
      {{"train.optimizer", "adafactor"},
       {"train.factored_min", int64_t{4}},
       {"train.update_momentum", 0.5},
       {"train.ema", 0.5}},
      {{"train.optimizer", "muon"},
       {"train.freeze", "layers.0.beta"},
       {"train.accumulate", int64_t{3}}},
      {{"train.init", "random"},
       {"model.layers", int64_t{2}},
       {"model.streams", "x+c+r"},
       {"model.width", int64_t{8}}},
      {{"model.attention", "static"}, {"train.schedule", "cosine"}, {"train.warmup", int64_t{5}}},
      {{"model.type", "softmax_regression"}, {"train.optimizer", "adam"}},
      {{"model.type", "softmax_regression"},
       {"train.optimizer", "adamw"},
       {"train.keep", "last"},
       {"train.ema", 0.9},
       {"train.accumulate", int64_t{2}}},
      {{"model.type", "softmax_regression"},
       {"train.optimizer", "sgd"},
       {"train.init", "random"},
       {"model.context", int64_t{2}}},
      {{"model.type", "transformer"},
       {"model.hidden_width", int64_t{8}},
       {"model.heads", int64_t{2}},
       {"model.window", int64_t{16}},
       {"model.experts", int64_t{4}},
       {"model.router_jitter", 0.1},
       {"model.expert_dropout", 0.1},
       {"train.optimizer", "adamw"},
       {"train.ema", 0.5},
       {"train.accumulate", int64_t{2}}},
      {{"model.type", "transformer"},
       {"model.hidden_width", int64_t{8}},
       {"model.heads", int64_t{2}},
       {"model.window", int64_t{16}},
       {"model.norm", "layer"},
       {"model.positions", "learned"},
       {"model.tie", false},
       {"train.optimizer", "muon"},
       {"train.keep", "last"}},
      {{"model.type", "transformer"},
       {"model.hidden_width", int64_t{8}},
       {"model.heads", int64_t{2}},
       {"model.window", int64_t{16}},
       {"model.experts", int64_t{2}},
       {"train.optimizer", "adafactor"},
       {"train.factored_min", int64_t{4}},
       {"train.step_size", "relative"}},
      {{"model.type", "log_linear"}, {"model.order", int64_t{2}}},
      {{"model.type", "log_linear"},
       {"model.order", int64_t{3}},
       {"model.trained", "rows"},
       {"train.optimizer", "sgd"}},
      {{"model.type", "log_linear"},
       {"model.order", int64_t{2}},
       {"model.trained", "dense"},
       {"model.dense", "x+c+r"},
       {"model.dense_bits", int64_t{8}},
       {"train.optimizer", "adamw"},
       {"train.weight_decay", 0.1},
       {"train.accumulate", int64_t{2}},
       {"train.ema", 0.9}},
      {{"model.type", "log_linear"},
       {"model.order", int64_t{2}},
       {"model.network", "transformer"},
       {"model.network_width", int64_t{32}},
       {"model.network_layers", int64_t{1}},
       {"model.network_context", int64_t{8}}},
      {{"model.type", "log_linear"},
       {"model.order", int64_t{3}},
       {"model.unigram_gain", true},
       {"model.network", "transformer"},
       {"model.network_width", int64_t{32}},
       {"model.network_layers", int64_t{1}},
       {"model.network_context", int64_t{8}},
       {"model.network_alone", 0.3},
       {"model.evidence", "trained"},
       {"train.optimizer", "muon"}},
      {{"model.type", "log_linear"},
       {"model.order", int64_t{2}},
       {"model.network", "feed_forward"},
       {"model.network_width", int64_t{32}},
       {"model.network_layers", int64_t{2}},
       {"model.network_context", int64_t{4}},
       {"train.optimizer", "muon"}},
      {{"model.type", "log_linear"},
       {"model.order", int64_t{2}},
       {"model.network", "saffu"},
       {"model.network_width", int64_t{32}},
       {"model.network_layers", int64_t{1}},
       {"model.network_context", int64_t{2}},
       {"model.evidence", "trained"}},
      {{"model.type", "transformer"},
       {"model.hidden_width", int64_t{8}},
       {"model.heads", int64_t{2}},
       {"model.window", int64_t{16}},
       {"model.dropout", 0.2},
       {"train.label_smoothing", 0.1}},
  };
  if (CpuHasBf16() && all->back().count("train.precision") == 0) {
    Params rounded = all->back();
    rounded.emplace("train.precision", "bf16");
    all->push_back(rounded);
  }
  return *all;
}

TEST_F(ResumeTest, AnyStepOfAnyFamilyAndOptimiserGoesOnWithTheSameBits) {
  for (Params params : Trainables()) {
    params.emplace("train.steps", int64_t{14});
    params.emplace("train.lr", 0.05);
    params.emplace("train.eval_every", int64_t{4});
    SCOPED_TRACE(MustResolve(Small(params)).CanonicalText());
    saved_.clear();
    const Ended whole = Run(params, "", kNever);
    ASSERT_TRUE(whole.status.ok()) << whole.status;
    const std::vector<SavedCheckpoint> saved = saved_;
    ASSERT_GE(saved.size(), 8u);
    for (const SavedCheckpoint& at : saved) {
      const Ended resumed = RunOn(params, at.path);
      ASSERT_TRUE(resumed.status.ok()) << resumed.status;
      ASSERT_EQ(resumed.bits, whole.bits) << "from step " << at.step;
      // The times of the attempt before are part of the trial's.
      const auto& times = resumed.result.metrics;
      ASSERT_GE(times.at("time/total_s"), times.at("time/data_s") + times.at("time/solve_s") +
                                              times.at("time/train_s") +
                                              times.at("time/evaluate_s"));
    }
  }
}

TEST_F(ResumeTest, SoDoesARunInterruptedAtRandomManyTimes) {
  const CounterRandom random(11, RandomPurpose::kTest);
  uint64_t draws = 0;
  for (int round = 0; round < 24; ++round) {
    Params params = Trainables()[random.Below(draws++, Trainables().size())];
    const int64_t steps = 10 + static_cast<int64_t>(random.Below(draws++, 30));
    params.emplace("train.steps", steps);
    params.emplace("train.lr", 0.03);
    params.emplace("train.eval_every", static_cast<int64_t>(1 + random.Below(draws++, 12)));
    SCOPED_TRACE(MustResolve(Small(params)).CanonicalText());
    const Ended whole = Run(params, "", kNever);
    ASSERT_TRUE(whole.status.ok()) << whole.status;
    std::string from;
    int64_t at = 0;
    for (;;) {
      const int64_t stop = at + 1 + static_cast<int64_t>(random.Below(draws++, 9));
      const Ended part = Run(params, from, stop);
      if (part.status.ok()) {
        ASSERT_EQ(part.bits, whole.bits) << "last from step " << at;
        break;
      }
      ASSERT_EQ(part.status.code(), absl::StatusCode::kCancelled) << part.status;
      at = stop;
      from = StateAt(stop);
    }
  }
}

TEST_F(ResumeTest, AResumedRunLeavesTheSameStates) {
  const Params params = {{"train.steps", int64_t{9}}, {"train.eval_every", int64_t{2}}};
  ASSERT_TRUE(Run(params, "", kNever).status.ok());
  const auto tensors = [&] {
    const auto file = SafetensorsFile::Open(StateAt(8));
    EXPECT_TRUE(file.ok()) << file.status();
    std::map<std::string, std::string> bytes;
    for (const auto& [name, tensor] : (*file)->content().tensors()) {
      bytes[name] = std::string(tensor.bytes);
    }
    return bytes;
  };
  const auto first = tensors();
  EXPECT_EQ(first.count("layers.0.u") + first.count("optimizer.v/layers.0.beta") +
                first.count("best/layers.0.u"),
            3u);
  ASSERT_TRUE(Run(params, StateAt(3), kNever).status.ok());
  EXPECT_EQ(tensors(), first);
}

TEST_F(ResumeTest, StoppingLeavesAStateOnlyWhenAskedAndWorthIt) {
  const auto stopped_run = [&](bool hand_back, double worth_s) {
    std::atomic<bool> stop = false, back = hand_back;
    std::vector<int64_t> steps;
    class StopAtFive : public MeasurementSink {
     public:
      explicit StopAtFive(std::atomic<bool>* stop) : stop_(stop) {}
      void Record(const Measurement& m) override { *stop_ = m.step == 5; }
      std::atomic<bool>* stop_;
    } sink(&stop);
    TrainerEnv env{.data = &data_, .statistics = &cache_, .stop = &stop, .hand_back = &back};
    env.checkpoints = {.prefix = Prefix(), .worth_s = worth_s, .on_saved = [&](const auto& saved) {
                         ASSERT_TRUE(saved.ok()) << saved.status();
                         steps.push_back(saved->step);
                       }};
    const auto result = RunTrial(
        MustResolve(Small({{"train.steps", int64_t{50}}, {"train.eval_every", int64_t{5}}})), 3,
        fingerprint_, env, sink);
    EXPECT_EQ(result.status().code(), absl::StatusCode::kCancelled);
    return steps;
  };
  EXPECT_EQ(stopped_run(true, 0), std::vector<int64_t>{5});
  EXPECT_EQ(stopped_run(false, 0), std::vector<int64_t>{});
  EXPECT_EQ(stopped_run(true, 1000), std::vector<int64_t>{});
}

TEST_F(ResumeTest, AnotherTrialsStateIsRefusedNamingWhatDiffers) {
  const Params params = {{"train.steps", int64_t{6}}};
  ASSERT_TRUE(Run(params, "", kNever).status.ok());
  const auto refusal = [&](Params other) {
    const absl::Status status = Run(other, StateAt(3), kNever).status;
    EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition) << status;
    return std::string(status.message());
  };
  EXPECT_THAT(refusal({{"train.steps", int64_t{7}}}),
              HasSubstr("its train.steps is 6, here it is 7"));
  EXPECT_THAT(refusal({{"train.steps", int64_t{6}}, {"model.streams", "x"}}),
              HasSubstr("model.streams is \"x+c\", here it is \"x\""));
}

TEST_F(ResumeTest, ADamagedStateIsDataLoss) {
  const Params params = {{"train.steps", int64_t{6}}};
  ASSERT_TRUE(Run(params, "", kNever).status.ok());
  const std::string whole = *ReadWholeFile(StateAt(3));
  EXPECT_EQ(Run(params, root_ + "/none", kNever).status.code(), absl::StatusCode::kDataLoss);
  for (const size_t size : {size_t{0}, size_t{7}, size_t{500}, whole.size() - 1}) {
    const std::string path = root_ + "/cut";
    ASSERT_TRUE(WriteFileAtomically(path, {std::string_view(whole).substr(0, size)}).ok());
    EXPECT_EQ(Run(params, path, kNever).status.code(), absl::StatusCode::kDataLoss) << size;
  }
  // A well-formed file that lacks something.
  for (const char* name : {"layers.0.u", "optimizer.m/layers.0.beta", "curve.step", "progress"}) {
    std::string renamed = whole;
    const size_t at = renamed.find(absl::StrCat("\"", name, "\""));
    ASSERT_NE(at, std::string::npos) << name;
    renamed[at + 1] = 'X';
    const std::string path = root_ + "/renamed";
    ASSERT_TRUE(WriteFileAtomically(path, {renamed}).ok());
    const absl::Status status = Run(params, path, kNever).status;
    EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss) << name << ": " << status;
    EXPECT_THAT(std::string(status.message()), HasSubstr(name));
  }
}

TEST_F(ResumeTest, AFullDiskCostsTheCheckpointNotTheRun) {
  std::vector<absl::Status> heard;
  TrainerEnv env{.data = &data_, .statistics = &cache_};
  env.checkpoints = {.prefix = root_ + "/no/such/folder/t",
                     .every_s = 0,
                     .on_saved = [&](const auto& saved) { heard.push_back(saved.status()); }};
  Recorder recorder;
  const auto result =
      RunTrial(MustResolve(Small({{"train.steps", int64_t{6}}})), 3, fingerprint_, env, recorder);
  ASSERT_TRUE(result.ok()) << result.status();
  ASSERT_FALSE(heard.empty());
  EXPECT_EQ(heard[0].code(), absl::StatusCode::kNotFound);
}

}  // namespace
}  // namespace saffron
