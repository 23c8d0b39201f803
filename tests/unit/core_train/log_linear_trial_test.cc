// Trials of model.type log_linear, and of Kneser-Ney with histories.

#include <gmock/gmock.h>

#include "core/model/registry.h"
#include "core/train/evidence_network.h"
#include "tests/unit/core_train/tiny_corpus.h"

namespace saffron {
namespace {

class LogLinearTrialTest : public TinyCorpusTest {
 protected:
  TrialResult Run(Params params, uint64_t seed = 1) {
    params.emplace("model.type", "log_linear");
    params.emplace("data.corpus", "tiny");
    params.emplace("data.vocab", int64_t{28});
    Recorder recorder;
    const ResolvedVariant variant = MustResolve(params);
    const auto result =
        RunTrial(variant, seed, fingerprint_, {.data = &data_, .statistics = &cache_}, recorder);
    EXPECT_TRUE(result.ok()) << result.status();
    if (!result.ok()) return {};
    EXPECT_EQ(result->outcome, TrainOutcome::kSucceeded) << result->message;
    std::vector<std::string> reported;
    for (const auto& [key, value] : result->metrics) {
      reported.push_back(key);
      EXPECT_TRUE(std::isfinite(value)) << key;
    }
    EXPECT_THAT(reported, testing::UnorderedElementsAreArray(ReportedMetrics(variant)));
    return *result;
  }
  double Test(Params params) { return Run(std::move(params)).metrics["test/perplexity"]; }

  static Params Everything() {
    return {{"model.templates", "skip+pair"},
            {"model.history", "all+recent+followers"},
            {"model.unigram_gain", true},
            {"model.seen_gains", true}};
  }
  static Params WithNetwork(Params params) {
    params.emplace("model.network", "transformer");
    params.emplace("model.network_width", int64_t{32});
    params.emplace("model.network_context", int64_t{16});
    params.emplace("train.steps", int64_t{20});
    params.emplace("train.batch", int64_t{128});
    params.emplace("train.lr", 0.003);
    return params;
  }
};

TEST_F(LogLinearTrialTest, SolvesWhatItIsAskedFor) {
  const double unigram = Test({{"model.type", "unigram"}});
  EXPECT_LT(Test({}), 0.5 * unigram);
  EXPECT_LT(Test(Everything()), 0.5 * unigram);
  Run({{"solve.gains", "knorm"}, {"model.order", int64_t{5}}});
  Run({{"solve.refold", false}, {"model.gain_classes", "one"}, {"model.templates", "2.4"}});
  Run({{"model.order", int64_t{1}}});
}

TEST_F(LogLinearTrialTest, GainsOfOneCostWhatKneserNeyCosts) {
  for (const char* discounts : {"single", "modified"}) {
    const double softmax = Test({{"solve.gains", "knorm"}, {"model.discounts", discounts}});
    const double chain = Test({{"model.type", "kneser_ney"}, {"model.discounts", discounts}});
    EXPECT_NEAR(softmax, chain, 1e-4 * chain) << discounts;
  }
}

TEST_F(LogLinearTrialTest, CompareThemselvesWithTheControlThatReadsTheSame) {
  auto everything = Run(Everything()).metrics;
  Params control = {{"model.type", "kneser_ney"}, {"model.history", "all+recent+followers"}};
  EXPECT_NEAR(everything["test/lead"],
              Run(control).metrics["test/nats_per_token"] - everything["test/nats_per_token"],
              1e-6);
  EXPECT_LE(everything["test/lead_low"], everything["test/lead"]);
  EXPECT_GE(everything["test/lead_high"], everything["test/lead"]);
}

TEST_F(LogLinearTrialTest, ScoresCountedTextAsIfItHadNotBeenCounted) {
  auto metrics = Run(Everything()).metrics;
  EXPECT_NEAR(metrics["train/nats_per_token"], metrics["test/nats_per_token"], 0.3);
}

TEST_F(LogLinearTrialTest, TrainsItsGains) {
  Params params = Everything();
  params.emplace("solve.gains", "knorm");
  const double before = Test(params);
  params.emplace("train.steps", int64_t{30});
  params.emplace("train.lr", 0.02);
  params.emplace("train.batch", int64_t{256});
  EXPECT_LT(Test(params), before);
}

TEST_F(LogLinearTrialTest, TrainsANetworkOnTopOrBesideItTheSameEveryTime) {
  for (const char* join : {"product", "mixture"}) {
    Params params = WithNetwork(Everything());
    params.emplace("model.join", join);
    auto once = Run(params).metrics, again = Run(params).metrics, other = Run(params, 2).metrics;
    EXPECT_EQ(once["test/nats_per_token"], again["test/nats_per_token"]);
    EXPECT_NE(once["test/nats_per_token"], other["test/nats_per_token"]);
  }
}

TEST_F(LogLinearTrialTest, ANetworkAloneLearns) {
  Params params = WithNetwork({{"model.order", int64_t{1}}});
  params["train.steps"] = int64_t{60};
  params["train.lr"] = 0.01;
  EXPECT_LT(Test(params), 0.8 * Test({{"model.type", "unigram"}}));
}

TEST_F(LogLinearTrialTest, ANetworkSeesNothingOfWhatFollows) {
  const auto data = data_.Text({.corpus = "tiny", .vocab = 28});
  ASSERT_TRUE(data.ok());
  LogLinearSpec spec;
  spec.histories = {HistoryKind::kAll};
  const auto evidence = LogLinearModel::Solve(spec, **data, cache_);
  ASSERT_TRUE(evidence.ok());
  for (Join join : {Join::kProduct, Join::kMixture}) {
    auto network = EvidenceNetwork::Create(*evidence, (*data)->train,
                                           {.join = join, .width = 32, .context = 16, .seed = 3});
    ASSERT_TRUE(network.ok());
    std::vector<int32_t> stream((*data)->test.begin(), (*data)->test.begin() + 200);
    std::vector<int64_t> targets;
    for (int64_t t = 50; t < 120; ++t) targets.push_back(t);
    const auto before = (*network)->Nats(stream, targets, Counted::kAsIs);
    ASSERT_EQ(before.size(), targets.size());
    for (size_t t = 120; t < stream.size(); ++t) stream[t] = (stream[t] + 1) % 28;
    EXPECT_EQ((*network)->Nats(stream, targets, Counted::kAsIs), before);
  }
}

TEST_F(LogLinearTrialTest, RefusesWhatCannotBe) {
  const auto refused = [](Params params) {
    params.emplace("model.type", "log_linear");
    return std::string(ResolvedVariant::Resolve(params).status().message());
  };
  using testing::HasSubstr;
  EXPECT_THAT(refused({{"model.templates", "1.2"}}), HasSubstr("model.templates: want none, or"));
  EXPECT_THAT(refused({{"solve.gains", "geometric"}}), HasSubstr("want calibrated or knorm"));
  EXPECT_THAT(refused({{"model.network", "transformer"}}), HasSubstr("train.steps of at least 1"));
  EXPECT_THAT(refused({{"solve.refold", false}, {"train.steps", int64_t{3}}}),
              HasSubstr("want true when train.steps"));
  EXPECT_THAT(refused({{"model.type", "kneser_ney"}, {"model.order", int64_t{1}}}),
              HasSubstr("want at least 2"));
}

}  // namespace
}  // namespace saffron
