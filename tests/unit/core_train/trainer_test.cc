#include "core/train/trainer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <thread>

#include "core/model/registry.h"
#include "tests/unit/core_train/tiny_corpus.h"

namespace saffron {
namespace {

using ::testing::HasSubstr;

class TrainerTest : public TinyCorpusTest {
 protected:
  absl::StatusOr<TrialResult> Run(Params params) {
    return RunTrial(MustResolve(Small(std::move(params))), 3, fingerprint_,
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
    EXPECT_THAT(reported,
                ::testing::UnorderedElementsAreArray(ReportedMetrics(MustResolve(params))));
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
  const ResolvedVariant variant = MustResolve({{"data.corpus", "tiny"},
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
    return RunTrial(MustResolve(params), seed, "", {}, recorder);
  };
  const auto result = run({}, 1);
  ASSERT_TRUE(result.ok());
  EXPECT_EQ(result->outcome, TrainOutcome::kSucceeded);
  std::vector<std::string> reported;
  for (const auto& [key, value] : result->metrics) reported.push_back(key);
  EXPECT_THAT(reported, ::testing::UnorderedElementsAreArray(
                            ReportedMetrics(MustResolve({{"model.type", "noop"}}))));
  EXPECT_EQ(run({}, 1)->metrics.at("test/perplexity"), result->metrics.at("test/perplexity"));
  EXPECT_NE(run({}, 2)->metrics.at("test/perplexity"), result->metrics.at("test/perplexity"));
  EXPECT_EQ(run({{"model.behaviour", "diverge"}}, 1)->outcome, TrainOutcome::kDiverged);
  EXPECT_EQ(run({{"model.behaviour", "fail"}}, 1).status().code(), absl::StatusCode::kInternal);
}

TEST(NoopTrialDeathTest, CrashKillsTheProcess) {
  Recorder recorder;
  const ResolvedVariant variant =
      MustResolve({{"model.type", "noop"}, {"model.behaviour", "crash"}});
  EXPECT_DEATH((void)RunTrial(variant, 1, "", {}, recorder), "model.behaviour is crash");
}

}  // namespace
}  // namespace saffron
