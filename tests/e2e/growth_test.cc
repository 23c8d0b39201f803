// Trials that start from other trials' models, and models grown by hand: through real processes.

#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "tests/e2e/scene.h"

namespace saffron {
namespace {

using testing::HasSubstr;
using testing::Not;

// A small transformer, and what it grows into.
constexpr char kParent[] = R"(version: 1
name: grow
metric: {name: test/perplexity, goal: minimize}
baseline:
  data.corpus: tiny
  data.vocab: 64
  data.tokens: 8000
  data.eval_tokens: 1000
  model.type: transformer
  model.layers: 1
  model.hidden_width: 8
  model.heads: 2
  model.head_dim: 4
  model.mlp_width: 16
  model.window: 16
  train.steps: 30
  train.batch: 64
  train.lr: 0.01
)";
constexpr char kGrown[] = R"(blocks:
  - name: grown
    init_from: {variant: baseline}
    parameters:
      model.layers: {value: 2}
      model.hidden_width: {value: 12}
      model.mlp_width: {value: 24}
  - name: again
    init_from: {variant: grown, derive: ['heads:3', 'mlp:x2'], state: reset}
    parameters:
      model.layers: {value: 2}
      model.hidden_width: {value: 12}
      model.heads: {value: 3}
      model.mlp_width: {value: 48}
)";

class GrowthTest : public testing::Test {
 protected:
  void SetUp() override { scene_.AddTinyCorpus(); }

  std::string Sweep(const std::string& text) { return scene_.Write("sweep.yaml", text); }
  double Number(const std::string& trial, const std::string& metric,
                const std::string& database = "results.db") {
    return std::stod(
        scene_.One(absl::StrCat("SELECT printf('%.17g', value) FROM results WHERE trial = ", trial,
                                " AND key = '", metric, "'"),
                   database));
  }
  std::string FirstLoss(int trial) {
    return scene_.One(absl::StrCat("SELECT round(value, 4) FROM metrics WHERE trial = ", trial,
                                   " AND key = 'valid/nats_per_token' ORDER BY step LIMIT 1"));
  }
  std::string LastLoss(int trial) {
    return scene_.One(absl::StrCat("SELECT round(value, 4) FROM metrics WHERE trial = ", trial,
                                   " AND key = 'valid/nats_per_token' ORDER BY step DESC LIMIT 1"));
  }

  Scene scene_;
};

TEST_F(GrowthTest, ARoadmapGrowsAModelInStepsAndShowsWhereItCameFrom) {
  const Ended ran = scene_.Run({"run", Sweep(std::string(kParent) + kGrown), "--workers", "2"});
  ASSERT_EQ(ran.exit_code, 0) << ran.err;
  EXPECT_EQ(FirstLoss(2), LastLoss(1));
  EXPECT_EQ(FirstLoss(3), LastLoss(2));
  EXPECT_LE(Number("2", "init/max_change"), 1e-10);
  EXPECT_GT(Number("2", "init/state_arrays"), 0);
  EXPECT_EQ(Number("3", "init/state_arrays"), 0);
  const Ended replayed = scene_.Run({"replay", "3"});
  EXPECT_EQ(replayed.exit_code, 0) << replayed.err;
  EXPECT_THAT(replayed.err, HasSubstr("the same, bit for bit"));
  const Ended shown = scene_.Run({"show", "3"});
  EXPECT_THAT(shown.out, HasSubstr("trial 2 (last checkpoint "));
  EXPECT_THAT(shown.out, HasSubstr("heads:3; mlp:x2"));
  EXPECT_THAT(shown.out, HasSubstr("init/max_change_float"));
  EXPECT_THAT(ran.out, HasSubstr("from baseline"));
  EXPECT_THAT(ran.out, HasSubstr(" by heads:3, mlp:x2"));
  EXPECT_THAT(scene_.Run({"show", "variant/3"}).out,
              HasSubstr("variant 2, its last checkpoint, grown by heads:3, mlp:x2"));
}

TEST_F(GrowthTest, AChildOnAWorkerThatSharesNoDiskHasTheSameNumbers) {
  auto serve = scene_.Serve({"--keep", "last"});
  ASSERT_EQ(scene_.Run({"submit", Sweep(kParent)}).exit_code, 0);
  auto first = scene_.Start({"worker", "--coordinator", scene_.address()});
  ASSERT_EQ(scene_.Run({"wait", "last"}).exit_code, 0);
  first->Signal(SIGTERM);
  first->Wait();
  ASSERT_EQ(scene_.Run({"submit", Sweep(std::string(kParent) + kGrown)}).exit_code, 0);
  // Another user on another machine, as far as files go.
  if (geteuid() == 0) {
    ASSERT_EQ(chmod(scene_.Path("").c_str(), 0755), 0);
    ASSERT_EQ(chmod(scene_.Path("results.db.artifacts").c_str(), 0700), 0);
    std::filesystem::create_directory(scene_.Path("elsewhere"));
    ASSERT_EQ(chmod(scene_.Path("elsewhere").c_str(), 0777), 0);
    scene_.as_nobody = true;
    if (scene_.Run({"--version"}).exit_code != 0) scene_.as_nobody = false;
  }
  auto second = scene_.Start(
      {"worker", "--coordinator", scene_.address(), "--spool", scene_.Path("elsewhere")});
  scene_.as_nobody = false;
  EXPECT_EQ(scene_.Run({"wait", "last"}).exit_code, 0) << second->err();
  EXPECT_THAT(second->err(), Not(HasSubstr("again")));
  ASSERT_EQ(scene_
                .Run({"run", Sweep(std::string(kParent) + kGrown), "--workers", "1", "--db",
                      scene_.Path("alone.db")})
                .exit_code,
            0);
  EXPECT_EQ(scene_.DeterministicMetrics(), scene_.DeterministicMetrics("alone.db"));
}

TEST_F(GrowthTest, AParentWhoseCheckpointWentLostIsMadeAgain) {
  const auto run = [&](const std::string& sweep, const std::string& database) {
    return scene_.Run({"run", Sweep(sweep), "--workers", "1", "--keep", "last", "--db", database});
  };
  const std::string results = scene_.Path("results.db"), copy = scene_.Path("copy.db");
  ASSERT_EQ(run(kParent, results).exit_code, 0);
  ASSERT_EQ(scene_.Run({"backup", copy}).exit_code, 0);  // which leaves artifacts behind
  const Ended ran = run(std::string(kParent) + kGrown, copy);
  EXPECT_EQ(ran.exit_code, 0) << ran.err;
  EXPECT_EQ(scene_.One("SELECT reason FROM events WHERE kind = 'artifact_deleted'", "copy.db"),
            absl::StrCat("checkpoint of ", scene_.One("SELECT bytes FROM artifacts"),
                         " bytes: its file is gone"));
  ASSERT_EQ(run(std::string(kParent) + kGrown, results).exit_code, 0);
  EXPECT_EQ(scene_.DeterministicMetrics("copy.db"), scene_.DeterministicMetrics());
}

TEST_F(GrowthTest, AParentThatLeftNoCheckpointIsMadeAgain) {
  // It has its result before anything starts from it.
  ASSERT_EQ(scene_.Run({"run", Sweep(kParent), "--workers", "1"}).exit_code, 0);
  ASSERT_EQ(scene_.One("SELECT count(*) FROM artifacts"), "0");
  const Ended ran = scene_.Run({"run", Sweep(std::string(kParent) + kGrown), "--workers", "1"});
  EXPECT_EQ(ran.exit_code, 0) << ran.err;
  EXPECT_GT(Number("2", "time/parent_s"), 0);
  EXPECT_EQ(scene_.One("SELECT attempts FROM trials WHERE id = 1"), "1");
  EXPECT_EQ(FirstLoss(2), LastLoss(1));
  ASSERT_EQ(scene_
                .Run({"run", Sweep(std::string(kParent) + kGrown), "--workers", "1", "--db",
                      scene_.Path("alone.db")})
                .exit_code,
            0);
  EXPECT_EQ(scene_.DeterministicMetrics(), scene_.DeterministicMetrics("alone.db"));
}

TEST_F(GrowthTest, ATrialThatDivergesKeepsItsLastGoodModelAndHasNoChildren) {
  // The rate grows with every step until it is far too large.
  const std::string warming = absl::StrReplaceAll(
      kParent, {{"train.steps: 30\n", "train.steps: 400\n  train.optimizer: sgd\n"},
                {"train.lr: 0.01\n", "train.lr: 100\n  train.warmup: 400\n"}});
  const Ended ran = scene_.Run({"run", Sweep(warming + R"(  train.eval_every: 5
blocks:
  - name: grown
    init_from: {variant: baseline}
    parameters: {model.mlp_width: {value: 24}}
)"),
                                "--workers", "1", "--keep", "best,last"});
  EXPECT_EQ(scene_.One("SELECT group_concat(state, ' ') FROM trials"), "diverged cancelled")
      << ran.err;
  EXPECT_EQ(scene_.One("SELECT count(DISTINCT role) FROM artifacts WHERE trial = 1 AND "
                       "kind = 'checkpoint' AND deleted_us IS NULL"),
            "2");
  EXPECT_THAT(scene_.Run({"show", "2"}).out, HasSubstr("its parent, trial 1, diverged"));
  const Ended eval = scene_.Run(
      {"model", "eval", "1", "--checkpoint", "best", "--split", "valid", "--output", "json"});
  ASSERT_EQ(eval.exit_code, 0) << eval.err;
  EXPECT_LT(nlohmann::json::parse(eval.out).at(0).at("value").get<double>(), 64)
      << "as if all words were equally likely";
  // Who wants to grow it all the same can, from the last state.
  const Ended grown = scene_.Run({"model", "derive", "1", "--checkpoint", "last", "--op", "mlp:x2",
                                  "-o", scene_.Path("grown.safetensors")});
  EXPECT_EQ(grown.exit_code, 0) << grown.err;
}

TEST_F(GrowthTest, WhatCannotGrowIsRefusedByThePlan) {
  const Ended plan = scene_.Run({"plan", Sweep(std::string(kParent) + R"(blocks:
  - name: grown
    init_from: {variant: baseline, derive: ['hidden:12']}
    parameters: {model.hidden_width: {value: 12}, model.mlp_width: {value: 24}}
)")});
  EXPECT_EQ(plan.exit_code, 2);
  EXPECT_THAT(plan.err, HasSubstr("sweep.yaml:21:"));
  EXPECT_THAT(plan.err, HasSubstr("init_from: model.mlp_width: the parent's model "
                                  "grown by hidden:12 has 16, this variant wants 24; mlp:24 in "
                                  "init_from.derive would make it so"));
}

TEST_F(GrowthTest, AModelGrownByHandComputesTheSameAndIsOneToWorkWith) {
  ASSERT_EQ(scene_.Run({"run", Sweep(kParent), "--workers", "1", "--keep", "best,last"}).exit_code,
            0);
  const std::string grown = scene_.Path("grown.safetensors");
  const Ended derived = scene_.Run({"model", "derive", "1", "--op", "hidden:12 mlp:x2", "--op",
                                    "layers:+1@0,heads:4", "-o", grown, "--output", "json"});
  ASSERT_EQ(derived.exit_code, 0) << derived.err;
  const auto row = nlohmann::json::parse(derived.out);
  EXPECT_LE(row.at(0).at("max_logit_change").get<double>(), 1e-10);
  EXPECT_EQ(row.at(0).at("ops"), "hidden:12,mlp:x2,layers:+1@0,heads:4");
  const auto eval = [&](const std::string& file) {
    const Ended ended = scene_.Run({"model", "eval", file, "--checkpoint", "last", "--split",
                                    "valid,test", "--output", "json"});
    EXPECT_EQ(ended.exit_code, 0) << ended.err;
    std::map<std::string, double> metrics;
    for (const auto& metric : nlohmann::json::parse(ended.out)) {
      metrics[metric.at("metric")] = metric.at("value");
    }
    return metrics;
  };
  const auto before = eval("1"), after = eval(grown);
  ASSERT_EQ(before.count("test/nats_per_token"), 1u);
  for (const auto& [key, value] : before) EXPECT_NEAR(after.at(key), value, 1e-4 * value) << key;
  const auto logits = [&](const std::string& file) {
    const Ended ended =
        scene_.Run({"model", "logits", file, "--checkpoint", "last", "--tokens", "3,1,4,1,5"});
    EXPECT_EQ(ended.exit_code, 0) << ended.err;
    return nlohmann::json::parse(ended.out).at("logits").get<std::vector<double>>();
  };
  const std::vector<double> of_parent = logits("1"), of_child = logits(grown);
  ASSERT_EQ(of_parent.size(), of_child.size());
  for (size_t i = 0; i < of_parent.size(); ++i) EXPECT_NEAR(of_child[i], of_parent[i], 1e-4);
  const Ended shown = scene_.Run({"model", "show", grown});
  EXPECT_THAT(shown.out, HasSubstr("layers.1.attn.wq"));
  EXPECT_THAT(shown.out, HasSubstr("\"ops\":\"hidden:12,mlp:x2,layers:+1@0,heads:4\""));

  const Ended again = scene_.Run({"model", "derive", "1", "--op", "mlp:x2", "-o", grown});
  EXPECT_EQ(again.exit_code, 2);
  EXPECT_THAT(again.err, HasSubstr("grown.safetensors exists: name another file, or say --force"));
  const auto model =
      nlohmann::json::parse(scene_.Run({"model", "show", grown, "--output", "json"}).out);
  EXPECT_EQ(model["parameters"]["model.mlp_width"], 16) << "a number, the trial's own";
  EXPECT_EQ(model["derived"][0]["ops"], "hidden:12,mlp:x2,layers:+1@0,heads:4");
  EXPECT_EQ(model["tensors"]["layers.1.attn.wq"]["shape"].size(), 2);
  const Ended forced =
      scene_.Run({"model", "derive", "1", "--op", "mlp:64", "-o", grown, "--force"});
  EXPECT_EQ(forced.exit_code, 0) << forced.err;

  const Ended shrunk =
      scene_.Run({"model", "derive", "1", "--op", "mlp:8", "-o", grown, "--force"});
  EXPECT_EQ(shrunk.exit_code, 2);
  EXPECT_THAT(shrunk.err, HasSubstr("layers.0.mlp_width is 16: want more, got 8"));
}

}  // namespace
}  // namespace saffron
