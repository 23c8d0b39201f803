// Sparse transformers as trials: keys, costs and what the routers report.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "core/model/registry.h"
#include "core/train/routing_file.h"
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
  TrialResult Run(const Params& params, const CheckpointPlan& plan = {}) {
    Recorder recorder;
    const auto result =
        RunTrial(MustResolve(Tiny(params)), 3, fingerprint_,
                 {.data = &data_, .statistics = &cache_, .checkpoints = plan}, recorder);
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

class RoutingFileTest : public TransformerExpertsTest {
 protected:
  // What a trial leaves of its routing.
  SavedCheckpoint Leave(const Params& params) {
    SavedCheckpoint left;
    result_ = Run(params, {.prefix = root_ + "/t1-a1",
                           .keep_routing = true,
                           .on_saved = [&](const absl::StatusOr<SavedCheckpoint>& saved) {
                             ASSERT_TRUE(saved.ok()) << saved.status();
                             left = *saved;
                           }});
    return left;
  }
  template <typename T>
  static std::vector<T> Column(const std::string& path, const std::string& table,
                               const std::string& name) {
    const auto file = SafetensorsFile::Open(path);
    EXPECT_TRUE(file.ok()) << file.status();
    const auto read = ReadRouting((*file)->content(), table);
    EXPECT_TRUE(read.ok()) << read.status();
    for (const RoutingColumn& column : read->columns) {
      if (column.name == name) return std::get<std::vector<T>>(column.values);
    }
    ADD_FAILURE() << "no column " << name;
    return {};
  }

  TrialResult result_;
};

TEST_F(RoutingFileTest, ItsTablesAreWhatTheMetricsSumUp) {
  const SavedCheckpoint left = Leave(
      {{"model.layers", int64_t{2}}, {"model.second_policy", "all"}, {"model.eval_capacity", 0.5}});
  EXPECT_EQ(left.kind, "trace");
  EXPECT_EQ(left.role, "routing");
  const auto chosen = Column<int64_t>(left.path, "experts", "chosen");
  const auto dropped = Column<int64_t>(left.path, "experts", "dropped");
  const auto load = Column<double>(left.path, "experts", "load");
  const auto tokens = Column<int64_t>(left.path, "layers", "tokens");
  ASSERT_EQ(chosen.size(), 8u);
  ASSERT_EQ(tokens.size(), 2u);
  EXPECT_EQ(Column<int64_t>(left.path, "layers", "layer"), (std::vector<int64_t>{0, 1}));
  double drop_rate = 0;
  for (size_t layer = 0; layer < 2; ++layer) {
    const auto of = [&](const auto& column) {
      const auto begin = column.begin() + 4 * static_cast<std::ptrdiff_t>(layer);
      return std::accumulate(begin, begin + 4,
                             typename std::decay_t<decltype(column)>::value_type());
    };
    EXPECT_EQ(of(chosen), 2 * tokens[layer]);
    EXPECT_NEAR(of(load), 4, 1e-12);
    drop_rate += 0.5 * static_cast<double>(of(dropped)) / static_cast<double>(of(chosen));
  }
  EXPECT_GT(drop_rate, 0);
  EXPECT_NEAR(drop_rate, result_.metrics.at("routing/dropped"), 1e-12);
  EXPECT_EQ(*std::max_element(load.begin(), load.end()), result_.metrics.at("routing/load"));

  const auto rows = Column<int64_t>(left.path, "trace", "row");
  const auto positions = Column<int64_t>(left.path, "trace", "position");
  const int64_t traced = std::min(LayerRouting::kTraceTokens, tokens[0]);
  ASSERT_EQ(static_cast<int64_t>(rows.size()), 2 * 2 * traced);
  EXPECT_EQ(rows[static_cast<size_t>(2 * traced - 1)], traced - 1);
  for (size_t i = 0; i < rows.size(); ++i) EXPECT_EQ(positions[i], rows[i] % 16);
}

TEST_F(RoutingFileTest, TheSameTrialLeavesTheSameBytesAndNoOtherNumbers) {
  const SavedCheckpoint first = Leave({}), again = Leave({});
  EXPECT_EQ(first.sha256, again.sha256);
  EXPECT_EQ(result_.metrics.at("test/nats_per_token"), Run({}).metrics.at("test/nats_per_token"));
}

TEST_F(RoutingFileTest, ADenseModelLeavesNone) {
  EXPECT_EQ(Leave({{"model.experts", int64_t{1}}}).path, "");
}

TEST_F(RoutingFileTest, AFileOfSomethingElseIsRefused) {
  const std::string path = Leave({}).path;
  const auto file = SafetensorsFile::Open(path);
  EXPECT_THAT(std::string(ReadRouting((*file)->content(), "tokens").status().message()),
              HasSubstr("want experts, layers or trace"));
  auto metadata = (*file)->content().metadata();
  ASSERT_TRUE(WriteSafetensors(root_ + "/short", metadata, {}).ok());
  EXPECT_FALSE(ReadRouting((*SafetensorsFile::Open(root_ + "/short"))->content(), "layers").ok());
  metadata["content"] = "model";
  ASSERT_TRUE(WriteSafetensors(root_ + "/model", metadata, {}).ok());
  EXPECT_THAT(
      std::string(ReadRouting((*SafetensorsFile::Open(root_ + "/model"))->content(), "layers")
                      .status()
                      .message()),
      HasSubstr("holds a model"));
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
