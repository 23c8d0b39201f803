// Transformers and perceptrons as trials.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "core/math/bf16_gemm.h"
#include "core/model/registry.h"
#include "core/train/trainer.h"
#include "core/train/variant_shape.h"
#include "tests/unit/core_train/tiny_corpus.h"

namespace saffron {
namespace {

class TransformerTrialTest : public TinyCorpusTest {
 protected:
  static Params Tiny(Params params) {
    params.emplace("model.type", "transformer");
    params.emplace("model.hidden_width", int64_t{12});
    params.emplace("model.heads", int64_t{2});
    params.emplace("model.window", int64_t{16});
    return Small(std::move(params));
  }
  TrialResult Run(const Params& params, Recorder* recorder = nullptr) {
    Recorder mine;
    const auto result =
        RunTrial(MustResolve(Tiny(params)), 3, fingerprint_,
                 {.data = &data_, .statistics = &cache_}, recorder == nullptr ? mine : *recorder);
    EXPECT_TRUE(result.ok()) << result.status();
    return result.ok() ? *result : TrialResult{};
  }
};

TEST_F(TransformerTrialTest, EveryKindTrainsAndReportsWhatTheRegistrySays) {
  const Params tuned = {{"train.steps", int64_t{6}}, {"train.lr", 0.01}};
  for (Params params : {Params{},
                        Params{{"model.layers", int64_t{2}},
                               {"model.mlp", "swiglu"},
                               {"model.norm", "layer"},
                               {"model.biases", true},
                               {"model.dropout", 0.1},
                               {"solve.embedding", "cipher"}},
                        Params{{"model.positions", "alibi"},
                               {"model.mlp", "geglu"},
                               {"model.unit_bias", "multiplicative"},
                               {"model.tie", false},
                               {"solve.readout", "ridge"},
                               {"solve.embedding", "random"}},
                        Params{{"model.positions", "learned"},
                               {"model.mlp", "relu"},
                               {"model.unit_bias", "additive"},
                               {"train.init", "random"},
                               {"model.packing", "document"},
                               {"model.tie", false}},
                        Params{{"model.tie", false}, {"solve.readout", "explicit"}},
                        Params{{"model.layers", int64_t{3}},
                               {"model.heads", "2,4,1"},
                               {"model.kv_heads", "1,2,1"},
                               {"model.head_dim", "6,4,8"},
                               {"model.value_dim", "5,0,3"},
                               {"model.mlp_width", "10,0,7"},
                               {"model.biases", true},
                               {"model.unit_bias", "additive"},
                               {"model.experts", int64_t{3}},
                               {"model.expert_every", int64_t{2}},
                               {"model.sparse_dense", "before"}},
                        Params{{"model.positions", "none"},
                               {"model.mlp", "gelu_tanh"},
                               {"model.heads", int64_t{4}},
                               {"model.kv_heads", int64_t{2}},
                               {"model.head_dim", int64_t{6}},
                               {"train.label_smoothing", 0.1}}}) {
    params.insert(tuned.begin(), tuned.end());
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
  }
}

TEST_F(TransformerTrialTest, InBfloat16ItLearnsAsMuchWithTheSameBitsEveryTime) {
  if (!CpuHasBf16()) GTEST_SKIP() << "no AVX512-BF16";
  const Params params = {
      {"train.steps", int64_t{60}}, {"train.lr", 0.02}, {"train.init", "random"}};
  const double exact = Run(params).metrics.at("test/nats_per_token");
  Params rounded = params;
  rounded.emplace("train.precision", "bf16");
  const double first = Run(rounded).metrics.at("test/nats_per_token");
  EXPECT_EQ(Run(rounded).metrics.at("test/nats_per_token"), first);
  EXPECT_NE(first, exact);
  EXPECT_NEAR(first, exact, 0.02 * exact);
}

TEST_F(TransformerTrialTest, WithoutTheCpuFeatureBfloat16IsRefused) {
  setenv("SAFFRON_CPU", "x86-64-v3", 1);
  Recorder recorder;
  const absl::Status status =
      RunTrial(MustResolve(Tiny({{"train.precision", "bf16"}})), 3, fingerprint_,
               {.data = &data_, .statistics = &cache_}, recorder)
          .status();
  unsetenv("SAFFRON_CPU");
  EXPECT_EQ(status.code(), absl::StatusCode::kUnimplemented);
  EXPECT_THAT(std::string(status.message()), ::testing::HasSubstr("AVX512-BF16"));
  EXPECT_THAT(std::string(status.message()), ::testing::HasSubstr("train.precision"));
}

TEST_F(TransformerTrialTest, ItLearnsWhatFollowsWhat) {
  const TrialResult unigram = Run({{"model.type", "unigram"}});
  const TrialResult result =
      Run({{"train.steps", int64_t{150}}, {"train.lr", 0.02}, {"train.init", "random"}});
  EXPECT_LT(result.metrics.at("test/perplexity"), 0.4 * unigram.metrics.at("test/perplexity"));
}

TEST_F(TransformerTrialTest, ExplicitStartsKnowFrequenciesAndARidgeReadoutMore) {
  const Params untied = {{"model.tie", false}};
  const auto nats = [&](Params params) {
    params.insert(untied.begin(), untied.end());
    return Run(params).metrics.at("valid/nats_per_token");
  };
  const double unigram = Run({{"model.type", "unigram"}}).metrics.at("valid/nats_per_token");
  const double prior = nats({{"solve.readout", "prior"}});
  const double ridge = nats({{"solve.readout", "ridge"}});
  const double counted = nats({{"solve.readout", "explicit"}});
  EXPECT_LT(prior, unigram + 0.3);
  EXPECT_LT(ridge, unigram - 0.2);
  EXPECT_LT(counted, prior) << "and ridge " << ridge;
}

TEST_F(TransformerTrialTest, EveryModelScoresTheSameTargets) {
  // Bytes behind the targets are the corpus's, so equal ratios of nats and bits are equal counts.
  const TrialResult unigram = Run({{"model.type", "unigram"}});
  const TrialResult transformer = Run({{"model.window", int64_t{7}}, {"train.batch", int64_t{7}}});
  for (const char* split : {"valid", "test"}) {
    const auto ratio = [&](const TrialResult& r) {
      return r.metrics.at(std::string(split) + "/nats_per_token") /
             r.metrics.at(std::string(split) + "/bits_per_byte");
    };
    EXPECT_NEAR(ratio(unigram), ratio(transformer), 1e-12 * ratio(unigram)) << split;
  }
}

TEST_F(TransformerTrialTest, ShapesThatDoNotDivideAreRefusedByName) {
  const auto error = [](Params params) {
    return std::string(ResolvedVariant::Resolve(Tiny(std::move(params))).status().message());
  };
  using ::testing::HasSubstr;
  EXPECT_THAT(error({{"model.heads", int64_t{5}}}), HasSubstr("model.heads: want a divisor of"));
  EXPECT_THAT(error({{"model.kv_heads", int64_t{3}}}), HasSubstr("model.kv_heads: want a divisor"));
  EXPECT_THAT(error({{"model.head_dim", int64_t{5}}}), HasSubstr("model.head_dim: want an even"));
  EXPECT_THAT(error({{"train.steps", int64_t{1}}, {"train.batch", int64_t{50}}}),
              HasSubstr("train.batch: want whole windows of model.window (16)"));
  EXPECT_THAT(error({{"solve.readout", "ridge"}}), HasSubstr("solve.readout: want model.tie"));
  EXPECT_THAT(error({{"model.hidden_width", int64_t{4}}}), HasSubstr("solve.embedding: want"));
  EXPECT_THAT(error({{"model.type", "mlp"}}), HasSubstr("model.input: want pixels"));
}

TEST_F(TransformerTrialTest, KeepingDocumentsApartChangesEvaluationAndTrainingAlike) {
  Params params = {{"train.init", "random"},
                   {"model.window", int64_t{32}},
                   {"train.batch", int64_t{1024}},
                   {"train.steps", int64_t{1}}};
  // Before the first step, and its loss.
  const auto start = [&](const char* packing) {
    params["model.packing"] = packing;
    Recorder recorder;
    Run(params, &recorder);
    std::map<std::string, double> values;
    for (const Measurement& m : recorder.measurements) values.emplace(m.key, m.value);
    return values;
  };
  const auto stream = start("stream"), apart = start("document");
  for (const char* key : {"valid/nats_per_token", "train/loss"}) {
    EXPECT_NE(stream.at(key), apart.at(key)) << key;
    EXPECT_NEAR(stream.at(key), apart.at(key), 0.05) << key;
  }
}

TEST_F(TransformerTrialTest, DocumentsThatEndInUnknownWordsCannotBeKeptApart) {
  Recorder recorder;
  const Params params = {{"model.packing", "document"}, {"data.vocab", int64_t{16}}};
  const auto result = RunTrial(MustResolve(Tiny(params)), 3, fingerprint_,
                               {.data = &data_, .statistics = &cache_}, recorder);
  EXPECT_EQ(result.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(result.status().message()), ::testing::HasSubstr("model.packing: want"));
}

TEST_F(TransformerTrialTest, TheCostOfAVariantCountsItsParameters) {
  for (Params params : {Params{},
                        Params{{"model.layers", int64_t{3}},
                               {"model.heads", "2,4,6"},
                               {"model.kv_heads", "1,2,3"},
                               {"model.head_dim", "6,4,8"},
                               {"model.value_dim", "5,0,3"},
                               {"model.mlp_width", "10,0,7"}},
                        Params{{"model.layers", int64_t{4}},
                               {"model.value_dim", int64_t{9}},
                               {"model.mlp_width", "10,20,30,40"},
                               {"model.mlp", "geglu"},
                               {"model.norm", "layer"},
                               {"model.positions", "learned"},
                               {"model.tie", false},
                               {"model.biases", true},
                               {"model.unit_bias", "multiplicative"},
                               {"model.experts", int64_t{3}},
                               {"model.expert_top", int64_t{1}},
                               {"model.expert_every", int64_t{2}},
                               {"model.sparse_dense", "after"}}}) {
    const ResolvedVariant variant = MustResolve(Tiny(params));
    SCOPED_TRACE(variant.CanonicalText());
    const TransformerShape shape = ShapeOf(variant, 28);
    const TransformerLayout layout = LayOut(shape);
    const CostEstimate cost = EstimateCost(variant);
    EXPECT_EQ(cost.parameters, static_cast<double>(layout.size));
    // A token's work is twice the weights of products that it meets, and its attention.
    double weights = 28 * 12, attention = 0;
    for (const ParameterTensor& tensor : layout.tensors) {
      const bool expert = tensor.name.find(".experts.") != std::string::npos;
      if (tensor.role != TensorRole::kHidden) continue;
      weights += static_cast<double>(tensor.size()) * (expert ? 1.0 / 3 : 1);
    }
    for (const TransformerLayerShape& layer : shape.layers) {
      attention += layer.heads * (layer.key_dim + layer.value_dim) * 16;
    }
    EXPECT_NEAR(cost.target_flops, 2 * (weights + attention), 1e-6);
  }
}

TEST_F(TransformerTrialTest, AWindowLongerThanTheTextIsRefused) {
  Recorder recorder;
  const Params params = {{"model.window", int64_t{4096}}, {"data.tokens", int64_t{1000}}};
  const auto result = RunTrial(MustResolve(Tiny(params)), 3, fingerprint_,
                               {.data = &data_, .statistics = &cache_}, recorder);
  EXPECT_EQ(result.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(result.status().message()), ::testing::HasSubstr("model.window: want"));
}

}  // namespace
}  // namespace saffron
