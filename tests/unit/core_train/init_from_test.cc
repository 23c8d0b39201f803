// Trials that start from the models of other trials.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <bit>
#include <cmath>

#include "core/model/registry.h"
#include "core/train/start_rules.h"
#include "core/train/stored_model.h"
#include "tests/unit/core_train/tiny_corpus.h"

namespace saffron {
namespace {

using ::testing::HasSubstr;

class InitFromTest : public TinyCorpusTest {
 protected:
  struct Ended {
    absl::Status status;
    std::map<std::string, double> metrics;  // the deterministic ones
    std::vector<Measurement> curve;
    double first() const { return curve.at(0).value; }
    std::vector<std::string> Bits() const {
      std::vector<std::string> lines;
      const auto line = [&](const std::string& key, int64_t step, double value) {
        lines.push_back(key + " " + std::to_string(step) + " " +
                        std::to_string(std::bit_cast<uint64_t>(value)));
      };
      for (const auto& [key, value] : metrics) line(key, -1, value);
      for (const Measurement& m : curve) line(m.key, m.step, m.value);
      return lines;
    }
  };

  static Params Tiny(Params params) {
    params.emplace("model.type", "transformer");
    params.emplace("model.hidden_width", int64_t{8});
    params.emplace("model.heads", int64_t{2});
    params.emplace("model.head_dim", int64_t{4});
    params.emplace("model.mlp_width", int64_t{16});
    params.emplace("model.window", int64_t{16});
    params.emplace("train.steps", int64_t{6});
    params.emplace("train.eval_every", int64_t{2});
    params.emplace("train.lr", 0.01);
    params.emplace("train.keep", "last");
    return Small(std::move(params));
  }

  // Leaves NAME-best and NAME-last, and its state before every step.
  Ended Run(const std::string& name, const Params& params, std::optional<StartFrom> from = {},
            const std::string& resume = "", uint64_t seed = 3) {
    TrainerEnv env{.data = &data_, .statistics = &cache_};
    env.init_from = std::move(from);
    env.resume_from = resume;
    env.checkpoints.prefix = root_ + "/" + name;
    env.checkpoints.every_s = 0;
    env.checkpoints.share = 1e9;
    env.checkpoints.keep = {"best", "last"};
    env.checkpoints.on_saved = [&](const absl::StatusOr<SavedCheckpoint>& saved) {
      ASSERT_TRUE(saved.ok()) << saved.status();
    };
    Recorder recorder;
    const auto result = RunTrial(MustResolve(Tiny(params)), seed, fingerprint_, env, recorder);
    Ended ended{result.status(), {}, recorder.measurements};
    if (!result.ok()) return ended;
    for (const auto& [key, value] : result->metrics) {
      const MetricSpec* spec = FindMetric(key);
      EXPECT_NE(spec, nullptr) << key;
      if (spec != nullptr && spec->deterministic) ended.metrics[key] = value;
    }
    return ended;
  }
  std::string File(const std::string& name) const { return root_ + "/" + name + ".safetensors"; }
  StartFrom Last(const std::string& name, std::vector<std::string> derive = {}) const {
    return {.path = File(name + "-last"), .sha256 = "abc", .derive = std::move(derive)};
  }
};

const Params kGrown = {{"model.hidden_width", int64_t{12}},
                       {"model.heads", int64_t{3}},
                       {"model.head_dim", int64_t{6}},
                       {"model.mlp_width", int64_t{20}},
                       {"model.layers", int64_t{2}}};

TEST_F(InitFromTest, AGrownModelStartsWhereItsParentEndsAndTrainsOn) {
  const Ended parent = Run("parent", {{"train.optimizer", "adamw"}});
  ASSERT_TRUE(parent.status.ok()) << parent.status;
  Params params = kGrown;
  params["train.optimizer"] = "adamw";
  const Ended child = Run("child", params, Last("parent"), "", 9);
  ASSERT_TRUE(child.status.ok()) << child.status;
  const double end = parent.metrics.at("valid/nats_per_token");
  EXPECT_NEAR(child.first(), end, 2e-6 * end);
  EXPECT_LT(child.metrics.at("valid/nats_per_token"), end);
  EXPECT_EQ(child.metrics.at("init/step"), 6);
  EXPECT_LE(child.metrics.at("init/max_change"), 1e-10);
  EXPECT_GT(child.metrics.at("init/max_change_float"), 0);
  EXPECT_GT(child.metrics.at("init/state_arrays"), 20);
  EXPECT_GT(child.metrics.at("model/parameters"), parent.metrics.at("model/parameters"));
}

TEST_F(InitFromTest, OneLayerOrValuesAloneMayGrow) {
  const Params two = {{"model.layers", int64_t{2}}, {"model.kv_heads", int64_t{1}}};
  const Ended parent = Run("parent", two);
  ASSERT_TRUE(parent.status.ok()) << parent.status;
  const double end = parent.metrics.at("valid/nats_per_token");
  const double size = parent.metrics.at("model/parameters");
  struct Growth {
    const char *key, *value, *op;
    double more;  // parameters
  };
  for (const Growth& growth : {
           Growth{"model.mlp_width", "32,16", "mlp:x2@0", 16 * 2 * 8},
           Growth{"model.value_dim", "8", "value:x2", 2 * 4 * (1 + 2) * 8},
           Growth{"model.value_dim", "4,6", "value:+2@1", 2 * (1 + 2) * 8},
           Growth{"model.head_dim", "6,4", "key:6@0", 2 * (2 + 1) * 8},
           Growth{"model.heads", "2,4", "heads:4@1", (2 + 1) * 2 * 4 * 8},
       }) {
    SCOPED_TRACE(growth.op);
    Params params = two;
    params[growth.key] = std::string(growth.value);
    // Keys of a layer that alone grows leave values as they were.
    if (growth.key == std::string("model.head_dim")) params["model.value_dim"] = int64_t{4};
    // Whole groups of heads are added, with a head of keys and values each.
    if (growth.key == std::string("model.heads")) params["model.kv_heads"] = "1,2";
    const Ended said = Run("said", params, Last("parent", {growth.op}));
    ASSERT_TRUE(said.status.ok()) << said.status;
    EXPECT_EQ(said.metrics.at("model/parameters"), size + growth.more);
    EXPECT_NEAR(said.first(), end, 2e-6 * end);
    EXPECT_LT(said.metrics.at("valid/nats_per_token"), end);
    EXPECT_LE(said.metrics.at("init/max_change"), 1e-10);
    EXPECT_GT(said.metrics.at("init/state_arrays"), 20);
    EXPECT_EQ(Run("found", params, Last("parent")).Bits(), said.Bits());
  }
}

TEST_F(InitFromTest, OperatorsLeftOutAreThoseOfTheDocumentedOrder) {
  ASSERT_TRUE(Run("parent", {}).status.ok());
  const Ended found = Run("found", kGrown, Last("parent"));
  ASSERT_TRUE(found.status.ok()) << found.status;
  const Ended said = Run(
      "said", kGrown, Last("parent", {"hidden:12", "heads:3,key:6", "value:6", "mlp:20 layers:2"}));
  EXPECT_EQ(found.Bits(), said.Bits());
  const Ended otherwise =
      Run("otherwise", kGrown,
          Last("parent", {"layers:2@0", "mlp:20,value:6,key:6,heads:3,hidden:12"}));
  ASSERT_TRUE(otherwise.status.ok()) << otherwise.status;
  EXPECT_NEAR(otherwise.first(), found.first(), 1e-5);
  EXPECT_NE(otherwise.Bits(), found.Bits());
}

TEST_F(InitFromTest, AnInterruptedChildGoesOnWithTheSameBitsWithoutItsParent) {
  for (const char* optimizer : {"adamw", "adafactor", "muon"}) {
    const Params trained = {{"train.optimizer", optimizer}, {"train.ema", 0.5}};
    ASSERT_TRUE(Run("parent", trained).status.ok());
    Params params = kGrown;
    params.insert(trained.begin(), trained.end());
    const Ended whole = Run("child", params, Last("parent"));
    ASSERT_TRUE(whole.status.ok()) << whole.status;
    for (const char* step : {"1", "4", "5"}) {
      StartFrom gone = {.missing = "is gone"};
      const Ended resumed = Run("again", params, gone, File(std::string("child-") + step));
      ASSERT_TRUE(resumed.status.ok()) << resumed.status;
      EXPECT_EQ(resumed.Bits(), whole.Bits()) << optimizer << " from step " << step;
    }
  }
}

TEST_F(InitFromTest, AStateOfAnotherBeginningIsRefused) {
  ASSERT_TRUE(Run("parent", {}).status.ok());
  ASSERT_TRUE(Run("scratch", kGrown).status.ok());
  ASSERT_TRUE(Run("child", kGrown, Last("parent")).status.ok());
  const auto resume = [&](const std::string& state, StartFrom from) {
    return Run("again", kGrown, std::move(from), File(state)).status;
  };
  EXPECT_EQ(resume("child-3", Last("parent")), absl::OkStatus());
  const absl::Status scratch = resume("scratch-3", Last("parent"));
  EXPECT_EQ(scratch.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(scratch.message()), HasSubstr("starts from no other"));
  StartFrom reset = Last("parent");
  reset.keep_state = false;
  EXPECT_THAT(std::string(resume("child-3", reset).message()), HasSubstr("init_from.state"));
  EXPECT_THAT(std::string(resume("child-3", Last("parent", {"hidden:12"})).message()),
              HasSubstr("init_from.derive"));
}

TEST_F(InitFromTest, TheOptimisersStateIsKeptOrForgotten) {
  ASSERT_TRUE(Run("parent", {}).status.ok());
  const Ended kept = Run("kept", kGrown, Last("parent"));
  StartFrom forget = Last("parent");
  forget.keep_state = false;
  const Ended forgotten = Run("forgotten", kGrown, forget);
  const Ended best = Run("best", kGrown, StartFrom{.path = File("parent-best")});
  EXPECT_GT(kept.metrics.at("init/state_arrays"), 0);
  EXPECT_EQ(forgotten.metrics.at("init/state_arrays"), 0);
  EXPECT_EQ(best.metrics.at("init/state_arrays"), 0) << "a model holds no optimiser's state";
  EXPECT_EQ(kept.first(), forgotten.first());
  EXPECT_NE(kept.metrics.at("valid/nats_per_token"), forgotten.metrics.at("valid/nats_per_token"));
}

TEST_F(InitFromTest, WhatGrewGrowsOn) {
  ASSERT_TRUE(Run("parent", {{"model.positions", "alibi"}}).status.ok());
  Params params = {{"model.positions", "alibi"},
                   {"model.hidden_width", int64_t{12}},
                   {"model.heads", int64_t{3}}};
  const Ended child = Run("child", params, Last("parent"));
  ASSERT_TRUE(child.status.ok()) << child.status;
  params["model.hidden_width"] = int64_t{16};
  params["model.experts"] = int64_t{2};
  params["model.capacity"] = 2.0;
  params["model.second_policy"] = "all";
  const Ended grandchild = Run("grandchild", params, Last("child"));
  ASSERT_TRUE(grandchild.status.ok()) << grandchild.status;
  EXPECT_NEAR(grandchild.first(), child.metrics.at("valid/nats_per_token"), 1e-5);
  const auto stored =
      StoredModel::Open(File("grandchild-last"), {.data = &data_, .statistics = &cache_});
  ASSERT_TRUE(stored.ok()) << stored.status();
  const auto test = (*stored)->Evaluate(Split::kTest);
  ASSERT_TRUE(test.ok()) << test.status();
  for (const auto& [key, value] : *test) {
    EXPECT_EQ(value, grandchild.metrics.at(key)) << key;
  }
}

// What is recorded is the change of the model that is trained, by its own settings.
TEST_F(InitFromTest, AnUpcycledModelStartsWhereItsParentEndsOrNotAtAll) {
  const Ended parent = Run("parent", {});
  ASSERT_TRUE(parent.status.ok()) << parent.status;
  const double end = parent.metrics.at("valid/nats_per_token");
  const Params exact = {
      {"model.experts", int64_t{8}}, {"model.second_policy", "all"}, {"model.eval_capacity", 8.0}};
  const auto with = [&](const std::string& key, const ParamValue& value) {
    Params params = exact;
    params[key] = value;
    return params;
  };
  for (const Params& params :
       {exact, with("model.expert_top", int64_t{3}), with("model.sparse_dense", "after")}) {
    SCOPED_TRACE(MustResolve(Tiny(params)).CanonicalText());
    const Ended child = Run("child", params, Last("parent"));
    ASSERT_TRUE(child.status.ok()) << child.status;
    EXPECT_NEAR(child.first(), end, 2e-6 * end);
    EXPECT_LE(child.metrics.at("init/max_change"), 1e-10);
    EXPECT_GT(child.metrics.at("init/max_change_float"), 0);
  }
  const ResolvedVariant dense = MustResolve(Tiny({}));
  const auto refusal = [&](const Params& params, const std::vector<std::string>& derive = {}) {
    const absl::Status status = Run("child", params, Last("parent", derive)).status;
    EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition) << status;
    const absl::Status planned = CheckStart(dense, MustResolve(Tiny(params)), derive);
    EXPECT_EQ(status.message(), absl::StrCat("init_from: ", planned.message()));
    return std::string(planned.message());
  };
  const std::string defaults = refusal({{"model.experts", int64_t{8}}});
  EXPECT_THAT(defaults, HasSubstr("model.second_policy is random: want all"));
  EXPECT_THAT(defaults, HasSubstr("model.eval_capacity is 2: want at least 8"));
  EXPECT_EQ(refusal({{"model.experts", int64_t{8}}}, {"experts:8"}), defaults);
  EXPECT_THAT(refusal(with("model.expert_top", int64_t{1})), HasSubstr("model.expert_top is 1"));
}

TEST_F(InitFromTest, OtherRoutingThanTheParentsIsRecordedAsAChange) {
  Params params = {
      {"model.experts", int64_t{4}}, {"model.second_policy", "all"}, {"model.eval_capacity", 4.0}};
  ASSERT_TRUE(Run("parent", params).status.ok());
  EXPECT_EQ(Run("same", params, Last("parent")).metrics.at("init/max_change"), 0);
  params["model.capacity"] = 4.0;  // of training alone
  EXPECT_EQ(Run("same", params, Last("parent")).metrics.at("init/max_change"), 0);
  params["model.second_policy"] = "none";
  for (const int64_t width : {16, 20}) {
    params["model.mlp_width"] = width;
    const Ended other = Run("other", params, Last("parent"));
    ASSERT_TRUE(other.status.ok()) << other.status;
    EXPECT_GT(other.metrics.at("init/max_change"), 1e-3);
  }
}

TEST_F(InitFromTest, EveryFamilyThatTrainsStartsFromItsLike) {
  for (const Params& params :
       {Params{{"model.type", "saffu"}, {"model.layers", int64_t{2}}, {"model.width", int64_t{8}}},
        Params{{"model.type", "softmax_regression"}, {"train.init", "random"}},
        Params{{"model.type", "log_linear"}, {"model.order", int64_t{2}}},
        Params{{"model.type", "transformer"}, {"model.experts", int64_t{2}}}}) {
    SCOPED_TRACE(MustResolve(Tiny(params)).CanonicalText());
    const Ended parent = Run("parent", params);
    ASSERT_TRUE(parent.status.ok()) << parent.status;
    const Ended child = Run("child", params, Last("parent"));
    ASSERT_TRUE(child.status.ok()) << child.status;
    double end = 0;
    for (const Measurement& m : parent.curve) {
      if (m.key == "valid/nats_per_token") end = m.value;
    }
    EXPECT_EQ(child.first(), end);
    EXPECT_GT(child.metrics.at("init/state_arrays"), 0);
    const Ended resumed = Run("again", params, Last("parent"), File("child-3"));
    EXPECT_EQ(resumed.Bits(), child.Bits());
  }
}

TEST_F(InitFromTest, ModelsOfImagesTooStartAndGoOnWithTheSameBits) {
  UseDigits();
  for (const Params& params :
       {Params{{"model.type", "mlp"}, {"model.dropout", 0.1}, {"train.optimizer", "muon"}},
        Params{{"model.type", "mlp"}, {"model.mlp", "swiglu"}, {"train.ema", 0.5}},
        Params{{"model.type", "softmax_regression"}}}) {
    Params all = params;
    all["data.corpus"] = "digits";
    all["model.input"] = "pixels";
    const Ended parent = Run("parent", all);
    ASSERT_TRUE(parent.status.ok()) << parent.status;
    const Ended child = Run("child", all, Last("parent"));
    ASSERT_TRUE(child.status.ok()) << child.status;
    EXPECT_GT(child.metrics.at("init/state_arrays"), 0);
    EXPECT_LE(child.metrics.at("train/nats_per_token"), parent.metrics.at("train/nats_per_token"));
    for (const char* step : {"1", "5"}) {
      const Ended resumed = Run("again", all, Last("parent"), File(std::string("child-") + step));
      EXPECT_EQ(resumed.Bits(), child.Bits());
    }
    const auto stored =
        StoredModel::Open(File("child-best"), {.data = &data_, .statistics = &cache_});
    ASSERT_TRUE(stored.ok()) << stored.status();
    EXPECT_EQ((*stored)->Evaluate(Split::kTest)->at("test/accuracy"),
              child.metrics.at("test/accuracy"));
  }
}

TEST_F(InitFromTest, WhatCannotBeAStartIsSaidWithWhatToDo) {
  ASSERT_TRUE(Run("parent", {}).status.ok());
  ASSERT_TRUE(Run("layered", {{"model.norm", "layer"}}).status.ok());
  const auto error = [&](const Params& params, const StartFrom& from) {
    const absl::Status status = Run("child", params, from).status;
    EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition) << status;
    return std::string(status.message());
  };
  EXPECT_EQ(error({}, {.missing = "it is gone; look elsewhere"}),
            "init_from: it is gone; look elsewhere");
  EXPECT_THAT(error(kGrown, Last("parent", {"hidden:12"})),
              HasSubstr("init_from: model.heads: the parent's model grown by hidden:12 has 2, this "
                        "variant wants 3; heads:3 in init_from.derive would make it so"));
  EXPECT_THAT(error({{"model.mlp_width", int64_t{12}}}, Last("parent")),
              HasSubstr("layers.0.mlp_width is 16: want more, got 12"));
  const Params two = {{"model.layers", int64_t{2}}, {"model.mlp_width", "16,24"}};
  EXPECT_THAT(
      error(two, Last("parent", {"layers:2"})),
      HasSubstr("init_from: model.mlp_width: the parent's model grown by layers:2 has 16 in "
                "layer 1, this variant wants 24; mlp:24@1 in init_from.derive would make "
                "it so"));
  EXPECT_THAT(error({{"model.mlp", "relu"}}, Last("parent")),
              HasSubstr("model.mlp: the parent's model has gelu, this variant wants relu"));
  EXPECT_THAT(
      error({{"model.norm", "layer"}, {"model.hidden_width", int64_t{12}}}, Last("layered")),
      HasSubstr("not exact under LayerNorm"));
  EXPECT_THAT(error({{"data.vocab", int64_t{27}}}, Last("parent")),
              HasSubstr("data.vocab: the parent's is 28, here it is 27; want the same"));
  EXPECT_THAT(error({{"model.type", "saffu"}}, Last("parent")),
              HasSubstr("model.type: the parent's is \"transformer\""));
  std::filesystem::resize_file(File("parent-last"), 1000);
  EXPECT_EQ(Run("child", {}, Last("parent")).status.code(), absl::StatusCode::kDataLoss);
}

TEST(StartRules, StateIsKeptByAnOptimiserThatRemembersTheSame) {
  const auto check = [](const Params& parent, const Params& child) {
    return std::string(CheckKeepsState(MustResolve(parent), MustResolve(child)).message());
  };
  const Params adamw = {{"train.steps", int64_t{5}}, {"train.optimizer", "adamw"}};
  Params other = adamw;
  other["train.optimizer"] = "adam";
  EXPECT_EQ(check(adamw, other), "");
  other["train.optimizer"] = "muon";
  EXPECT_THAT(check(adamw, other),
              HasSubstr("state: train.optimizer of the parent is adamw, here it is muon"));
  EXPECT_THAT(check({{"train.steps", int64_t{0}}}, adamw),
              HasSubstr("state: train.steps of the parent is 0"));
  EXPECT_THAT(check(adamw, {{"train.steps", int64_t{0}}}),
              HasSubstr("state: train.steps of the child is 0"));
  EXPECT_EQ(check({{"model.type", "noop"}}, {{"model.type", "noop"}}), "");
}

TEST(StartRules, FamiliesWithoutATrainedModelAndOperatorsForOthersAreRefused) {
  const auto check = [](Params parent, Params child, const std::vector<std::string>& derive = {}) {
    return std::string(CheckStart(MustResolve(parent), MustResolve(child), derive).message());
  };
  const Params saffu = {{"train.steps", int64_t{5}}};
  EXPECT_EQ(check(saffu, saffu), "");
  EXPECT_THAT(check(saffu, saffu, {"layers:2"}), HasSubstr("want model.type transformer"));
  EXPECT_THAT(check(saffu, saffu, {"layer:2"}), HasSubstr("did you mean layers?"));
  const Params kneser_ney = {{"model.type", "kneser_ney"}};
  EXPECT_THAT(check(kneser_ney, kneser_ney), HasSubstr("want one that is trained"));
  const Params sparse = {{"model.type", "softmax_regression"}};
  EXPECT_THAT(check(sparse, sparse), HasSubstr("want one that is trained"));
  Params other_solution = saffu;
  other_solution["train.init"] = "random";
  EXPECT_THAT(check(saffu, other_solution), HasSubstr("want the same"));
  const Params noop = {{"model.type", "noop"}};
  EXPECT_EQ(check(noop, noop, {"mlp:x2"}), "");
}

}  // namespace
}  // namespace saffron
