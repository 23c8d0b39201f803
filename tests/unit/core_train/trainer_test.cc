#include "core/train/trainer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <thread>

#include "core/base/random.h"
#include "core/model/registry.h"

namespace saffron {
namespace {

using Params = std::map<std::string, ParamValue>;
using ::testing::HasSubstr;

class Recorder : public MeasurementSink {
 public:
  void Record(const Measurement& m) override { measurements.push_back(m); }
  std::vector<Measurement> measurements;
};

ResolvedVariant Must(const Params& params) {
  const auto variant = ResolvedVariant::Resolve(params);
  EXPECT_TRUE(variant.ok()) << variant.status();
  return variant.ok() ? *variant : ResolvedVariant();
}

// A corpus in which every word says which comes next, most of the time.
class TrainerTest : public ::testing::Test {
 protected:
  TrainerTest()
      : root_(::testing::TempDir() + "/saffron_trainer_" + std::to_string(getpid())),
        data_(root_ + "/data"),
        cache_({.dir = ""}) {}
  ~TrainerTest() override { std::filesystem::remove_all(root_); }

  void SetUp() override {
    std::filesystem::create_directories(root_);
    const CounterRandom random(5, RandomPurpose::kTest);
    uint64_t draws = 0;
    std::vector<std::string> files;
    int word = 0;
    for (int document = 0; document < 40; ++document) {
      files.push_back(root_ + "/" + std::to_string(100 + document) + ".txt");
      std::ofstream file(files.back());
      for (int i = 0; i < 150; ++i) {
        word = random.Uniform(draws++) < 0.8 ? (word * 3 + 1) % 26
                                             : static_cast<int>(random.Below(draws++, 26));
        file << static_cast<char>('a' + word) << ' ';
      }
    }
    const auto corpus = data_.AddText("tiny", files, "", false);
    ASSERT_TRUE(corpus.ok()) << corpus.status();
    fingerprint_ = corpus->fingerprint;
  }

  absl::StatusOr<TrialResult> Run(Params params) {
    params.emplace("data.corpus", "tiny");
    params.emplace("data.vocab", int64_t{28});
    params.emplace("model.bits", int64_t{8});
    params.emplace("train.batch", int64_t{64});
    return RunTrial(Must(params), 3, fingerprint_,
                    {.data = &data_, .statistics = &cache_, .stop = &stop_}, recorder_);
  }
  double Metric(const Params& params, const std::string& key) {
    const auto result = Run(params);
    EXPECT_TRUE(result.ok()) << result.status();
    if (!result.ok() || result->metrics.count(key) == 0) {
      ADD_FAILURE() << "no " << key;
      return std::nan("");
    }
    return result->metrics.at(key);
  }

  std::string root_;
  DataStore data_;
  StatisticsCache cache_;
  std::string fingerprint_;
  std::atomic<bool> stop_{false};
  Recorder recorder_;
};

TEST_F(TrainerTest, EveryFamilyReportsWhatTheRegistrySays) {
  for (Params params :
       {Params{{"model.type", "unigram"}}, Params{{"model.type", "kneser_ney"}}, Params{},
        Params{{"train.steps", int64_t{6}}}, Params{{"train.init", "random"}},
        Params{{"model.type", "softmax_regression"}},
        Params{{"model.type", "softmax_regression"}, {"train.steps", int64_t{6}}},
        Params{{"model.layers", int64_t{2}},
               {"model.streams", "x+c+r"},
               {"model.width", int64_t{8}}}}) {
    params["data.corpus"] = "tiny";
    params["data.vocab"] = int64_t{28};
    params["model.bits"] = int64_t{8};
    const auto result = Run(params);
    ASSERT_TRUE(result.ok()) << result.status();
    EXPECT_EQ(result->outcome, TrainOutcome::kSucceeded) << result->message;
    std::vector<std::string> reported;
    for (const auto& [key, value] : result->metrics) {
      reported.push_back(key);
      EXPECT_TRUE(std::isfinite(value)) << key;
    }
    EXPECT_THAT(reported, ::testing::UnorderedElementsAreArray(ReportedMetrics(Must(params))));
  }
}

TEST_F(TrainerTest, ModelsThatSeeContextBeatTokenFrequencies) {
  const double unigram = Metric({{"model.type", "unigram"}}, "test/perplexity");
  EXPECT_NEAR(unigram, 27, 3);
  for (const char* type : {"kneser_ney", "softmax_regression", "saffu"}) {
    EXPECT_LT(Metric({{"model.type", type}}, "test/perplexity"), 0.5 * unigram) << type;
  }
}

TEST_F(TrainerTest, BackpropagationImprovesARandomStart) {
  const double start = Metric({{"train.init", "random"}}, "valid/nats_per_token");
  for (const char* type : {"saffu", "softmax_regression"}) {
    const double tuned = Metric({{"model.type", type},
                                 {"train.init", "random"},
                                 {"train.steps", int64_t{60}},
                                 {"train.lr", 0.05}},
                                "valid/nats_per_token");
    EXPECT_LT(tuned, 0.8 * start) << type;
  }
}

TEST_F(TrainerTest, TheDenseOneHotModelStartsAtTheSparseSolution) {
  const double sparse = Metric({{"model.type", "softmax_regression"}}, "valid/nats_per_token");
  recorder_.measurements.clear();
  ASSERT_TRUE(Run({{"model.type", "softmax_regression"}, {"train.steps", int64_t{1}}}).ok());
  ASSERT_FALSE(recorder_.measurements.empty());
  EXPECT_EQ(recorder_.measurements[0].key, "valid/nats_per_token");
  EXPECT_EQ(recorder_.measurements[0].step, 0);
  // The curve's sample is the whole validation split of so small a corpus.
  EXPECT_NEAR(recorder_.measurements[0].value, sparse, 1e-4);
}

TEST_F(TrainerTest, DivergenceIsAnOutcome) {
  const auto result = Run({{"train.steps", int64_t{40}},
                           {"train.optimizer", "sgd"},
                           {"train.lr", 100.0},
                           {"train.momentum", 0.99}});
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_EQ(result->outcome, TrainOutcome::kDiverged);
  EXPECT_FALSE(result->message.empty());
  EXPECT_EQ(result->metrics.count("test/perplexity"), 0u);
  EXPECT_EQ(result->metrics.count("model/parameters"), 1u);
}

TEST_F(TrainerTest, StopsWhenTold) {
  stop_ = true;
  EXPECT_EQ(Run({}).status().code(), absl::StatusCode::kCancelled);
  EXPECT_EQ(Run({{"model.type", "noop"}}).status().code(), absl::StatusCode::kCancelled);
}

TEST_F(TrainerTest, RefusesAnotherCorpusUnderTheSameName) {
  fingerprint_[0] = fingerprint_[0] == 'a' ? 'b' : 'a';
  const auto result = Run({{"model.type", "unigram"}});
  EXPECT_EQ(result.status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(result.status().message()), HasSubstr("tiny changed"));
}

TEST_F(TrainerTest, AMissingCorpusIsNotFound) {
  const auto result = Run({{"model.type", "unigram"}, {"data.corpus", "moby"}});
  EXPECT_EQ(result.status().code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(std::string(result.status().message()), HasSubstr("moby"));
}

TEST_F(TrainerTest, TextIsNoImages) {
  const auto result = Run({{"model.type", "softmax_regression"}, {"model.input", "pixels"}});
  EXPECT_EQ(result.status().code(), absl::StatusCode::kInvalidArgument);
}

TEST_F(TrainerTest, TrialsAtOnceDoNotDisturbEachOther) {
  const ResolvedVariant variant = Must({{"data.corpus", "tiny"},
                                        {"data.vocab", int64_t{28}},
                                        {"model.bits", int64_t{8}},
                                        {"train.batch", int64_t{64}},
                                        {"train.steps", int64_t{20}}});
  std::vector<double> losses(4);
  std::vector<std::thread> threads;
  for (double& loss : losses) {
    threads.emplace_back([&] {
      Recorder recorder;
      const auto result =
          RunTrial(variant, 3, fingerprint_, {.data = &data_, .statistics = &cache_}, recorder);
      if (result.ok()) loss = result->metrics.at("train/loss");
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_GT(losses[0], 0);
  for (const double loss : losses) EXPECT_EQ(loss, losses[0]);
}

TEST(NoopTrial, EndsAsToldWithMetricsOfItsSeed) {
  Recorder recorder;
  const auto run = [&](const Params& more, uint64_t seed) {
    Params params = more;
    params["model.type"] = "noop";
    return RunTrial(Must(params), seed, "", {}, recorder);
  };
  const auto result = run({}, 1);
  ASSERT_TRUE(result.ok());
  EXPECT_EQ(result->outcome, TrainOutcome::kSucceeded);
  std::vector<std::string> reported;
  for (const auto& [key, value] : result->metrics) reported.push_back(key);
  EXPECT_THAT(reported, ::testing::UnorderedElementsAreArray(
                            ReportedMetrics(Must({{"model.type", "noop"}}))));
  EXPECT_EQ(run({}, 1)->metrics.at("test/perplexity"), result->metrics.at("test/perplexity"));
  EXPECT_NE(run({}, 2)->metrics.at("test/perplexity"), result->metrics.at("test/perplexity"));
  EXPECT_EQ(run({{"model.behaviour", "diverge"}}, 1)->outcome, TrainOutcome::kDiverged);
  EXPECT_EQ(run({{"model.behaviour", "fail"}}, 1).status().code(), absl::StatusCode::kInternal);
}

TEST(NoopTrialDeathTest, CrashKillsTheProcess) {
  Recorder recorder;
  const ResolvedVariant variant = Must({{"model.type", "noop"}, {"model.behaviour", "crash"}});
  EXPECT_DEATH((void)RunTrial(variant, 1, "", {}, recorder), "model.behaviour is crash");
}

}  // namespace
}  // namespace saffron
