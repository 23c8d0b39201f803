// Sparse transformers as trials: keys, costs and what the routers report.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "core/model/registry.h"
#include "core/train/trainer.h"
#include "tests/unit/core_train/tiny_corpus.h"

namespace saffron {
namespace {

using ::testing::HasSubstr;

class TransformerExpertsTest : public TinyCorpusTest {
 protected:
  static Params Tiny(Params params) {
    params.emplace("model.type", "transformer");
    params.emplace("model.hidden_width", int64_t{12});
    params.emplace("model.heads", int64_t{2});
    params.emplace("model.window", int64_t{16});
    params.emplace("model.experts", int64_t{4});
    params.emplace("train.steps", int64_t{4});
    params.emplace("train.lr", 0.01);
    return Small(std::move(params));
  }
  TrialResult Run(const Params& params) {
    Recorder recorder;
    const auto result = RunTrial(MustResolve(Tiny(params)), 3, fingerprint_,
                                 {.data = &data_, .statistics = &cache_}, recorder);
    EXPECT_TRUE(result.ok()) << result.status();
    return result.ok() ? *result : TrialResult{};
  }
  static std::string Error(Params params) {
    return std::string(ResolvedVariant::Resolve(Tiny(std::move(params))).status().message());
  }
};

TEST_F(TransformerExpertsTest, EveryKindTrainsAndReportsWhatTheRegistrySays) {
  for (const Params& params : {Params{},
                               Params{{"model.expert_top", int64_t{1}},
                                      {"model.router_jitter", 0.01},
                                      {"model.sparse_dense", "before"},
                                      {"model.norm", "layer"},
                                      {"model.biases", true}},
                               Params{{"model.expert_top", int64_t{3}},
                                      {"model.layers", int64_t{3}},
                                      {"model.expert_every", int64_t{2}},
                                      {"model.second_policy", "all"},
                                      {"model.slots", "choice_major"},
                                      {"model.expert_dropout", 0.2},
                                      {"model.dropout", 0.1},
                                      {"model.mlp", "swiglu"},
                                      {"model.unit_bias", "additive"},
                                      {"model.sparse_dense", "after"}},
                               Params{{"train.steps", int64_t{0}}}}) {
    const ResolvedVariant variant = MustResolve(Tiny(params));
    SCOPED_TRACE(variant.CanonicalText());
    const TrialResult result = Run(params);
    EXPECT_EQ(result.outcome, TrainOutcome::kSucceeded) << result.message;
    std::vector<std::string> reported;
    for (const auto& [key, value] : result.metrics) {
      reported.push_back(key);
      EXPECT_TRUE(std::isfinite(value)) << key;
    }
    EXPECT_THAT(reported, ::testing::UnorderedElementsAreArray(ReportedMetrics(variant)));
    // A vocabulary of fewer types than asked for is the corpus's.
    EXPECT_NEAR(result.metrics.at("model/parameters"), EstimateCost(variant).parameters, 30);
    EXPECT_GE(result.metrics.at("routing/load"), 1);
    EXPECT_LE(result.metrics.at("routing/entropy"), std::log(4) + 1e-9);
    EXPECT_GE(result.metrics.at("routing/information"),
              result.metrics.at("routing/information_shuffled"));
  }
}

TEST_F(TransformerExpertsTest, WorkOfATokenIsThatOfItsExpertsAndParametersAreThoseOfAll) {
  const auto metrics = [&](Params params) {
    params.emplace("train.steps", int64_t{0});
    return Run(params).metrics;
  };
  const auto dense = metrics({{"model.experts", int64_t{1}}});
  const auto sparse = metrics({});
  const double mlp = 2.0 * 12 * 48, router = 12.0 * 4;
  EXPECT_EQ(dense.at("model/parameters_active"), dense.at("model/parameters"));
  EXPECT_EQ(dense.at("model/flops_total"), dense.at("model/flops_active"));
  EXPECT_EQ(sparse.at("model/parameters"), dense.at("model/parameters") + 3 * mlp + router);
  EXPECT_EQ(sparse.at("model/parameters_active"), dense.at("model/parameters") + mlp + router);
  EXPECT_EQ(sparse.at("model/flops_active"), dense.at("model/flops_active") + 2 * (mlp + router));
  EXPECT_EQ(sparse.at("model/flops_total"), sparse.at("model/flops_active") + 2 * 2 * mlp);
}

TEST_F(TransformerExpertsTest, TheSameTrialHasTheSameBits) {
  const Params params = {{"model.router_jitter", 0.1}, {"model.expert_dropout", 0.1}};
  const TrialResult once = Run(params), again = Run(params);
  for (const char* key : {"test/nats_per_token", "train/loss", "routing/entropy"}) {
    EXPECT_EQ(once.metrics.at(key), again.metrics.at(key)) << key;
  }
}

TEST_F(TransformerExpertsTest, WhatCannotBeIsRefusedByName) {
  EXPECT_THAT(Error({{"model.expert_top", int64_t{5}}}),
              HasSubstr("model.expert_top: want at most model.experts (4)"));
  EXPECT_THAT(Error({{"model.expert_every", int64_t{2}}}),
              HasSubstr("model.expert_every: want at most model.layers (1)"));
  EXPECT_THAT(Error({{"model.capacity", 0.2}}),
              HasSubstr("model.capacity: want at least one token an expert: of model.window (16)"));
  EXPECT_THAT(Error({{"model.eval_capacity", 0.2}}), HasSubstr("model.eval_capacity: want at"));
  EXPECT_THAT(Error({{"model.slots", "priority"}}), HasSubstr("has not seen"));
}

TEST_F(TransformerExpertsTest, AModelWithoutExpertsIsTheOneFromBeforeThereWereAny) {
  const ResolvedVariant plain = MustResolve(Tiny({{"model.experts", int64_t{1}}}));
  const ResolvedVariant idle = MustResolve(
      Tiny({{"model.experts", int64_t{1}}, {"model.capacity", 3.0}, {"model.slots", "priority"}}));
  EXPECT_EQ(plain.CanonicalText(), idle.CanonicalText());
  EXPECT_THAT(plain.CanonicalText(), ::testing::Not(HasSubstr("expert")));
}

}  // namespace
}  // namespace saffron
