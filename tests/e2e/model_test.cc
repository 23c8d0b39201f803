// Files of models through real processes: what routers left, models without data, and the same bits
// whatever the machine has.

#include <sqlite3.h>

#include <algorithm>
#include <filesystem>
#include <string>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "tests/e2e/scene.h"

namespace saffron {
namespace {

using testing::HasSubstr;
using testing::Not;

class ModelTest : public testing::Test {
 protected:
  void SetUp() override { scene_.AddTinyCorpus(); }

  // A sparse transformer on the tiny corpus.
  std::string Sweep(const std::string& more = "") {
    return scene_.Write("sweep.yaml", absl::StrCat(R"(version: 1
name: models
metric: {name: test/perplexity, goal: minimize}
baseline:
  data.corpus: tiny
  data.vocab: 64
  data.tokens: 8000
  data.eval_tokens: 1000
  model.type: transformer
  model.layers: 2
  model.hidden_width: 8
  model.heads: 2
  model.mlp_width: 16
  model.experts: 4
  model.second_policy: all
  model.window: 16
  train.steps: 20
  train.batch: 64
  train.lr: 0.01
)",
                                                   more));
  }
  nlohmann::json Json(const std::vector<std::string>& arguments) {
    const Ended ended = scene_.Run(arguments);
    EXPECT_EQ(ended.exit_code, 0) << ended.err;
    return nlohmann::json::parse(ended.out, nullptr, false);
  }
  void Change(const std::string& sql) {
    sqlite3* db = nullptr;
    ASSERT_EQ(sqlite3_open(scene_.Path("results.db").c_str(), &db), SQLITE_OK);
    EXPECT_EQ(sqlite3_exec(db, sql.c_str(), nullptr, nullptr, nullptr), SQLITE_OK);
    sqlite3_close(db);
  }

  Scene scene_;
};

TEST_F(ModelTest, ATrialWithExpertsLeavesWhatItsRoutersDid) {
  const Ended ran = scene_.Run({"run", Sweep(), "--workers", "1"});
  ASSERT_EQ(ran.exit_code, 0) << ran.err;
  ASSERT_EQ(scene_.One("SELECT kind || ' ' || role FROM artifacts"), "trace routing");
  const std::string digest = scene_.One("SELECT sha256 FROM artifacts");
  EXPECT_THAT(scene_.Run({"show", "1"}).out,
              HasSubstr(digest.substr(0, 2) + "/" + digest.substr(2)));

  const auto layers = Json({"model", "routing", "1", "--table", "layers", "--output", "json"});
  const auto experts = Json({"model", "routing", "1", "--output", "json"});
  ASSERT_EQ(layers.size(), 2u);
  ASSERT_EQ(experts.size(), 8u);
  for (const auto& layer : layers) {
    int64_t chosen = 0;
    double load = 0;
    for (const auto& expert : experts) {
      if (expert.at("layer") != layer.at("layer")) continue;
      chosen += expert.at("chosen").get<int64_t>();
      load += expert.at("load").get<double>();
    }
    EXPECT_EQ(chosen, 2 * layer.at("tokens").get<int64_t>());
    EXPECT_NEAR(load, 4, 1e-12);
    EXPECT_GE(layer.at("information"), layer.at("information_shuffled"));
  }
  const std::string path =
      scene_.Path("results.db.artifacts/" + digest.substr(0, 2) + "/" + digest.substr(2));
  const Ended trace = scene_.Run({"model", "routing", path, "--table", "trace", "--output", "csv"});
  EXPECT_THAT(trace.out, testing::StartsWith("layer,row,position,token,choice,expert,gate,kept"));
  const auto rows = std::count(trace.out.begin(), trace.out.end(), '\n') - 1;
  EXPECT_EQ(rows, 2 * 2 * std::min<int64_t>(1024, layers[0].at("tokens")));

  const Ended wrong = scene_.Run({"model", "eval", path});
  EXPECT_EQ(wrong.exit_code, 2);
  const Ended none = scene_.Run({"model", "routing", "7"});
  EXPECT_THAT(none.err, HasSubstr("trials of models with experts leave it"));
}

TEST_F(ModelTest, LogitsNeedTheFileAloneAndEvalSaysWhichDataItNeeds) {
  ASSERT_EQ(scene_.Run({"run", Sweep(), "--workers", "1", "--keep", "best"}).exit_code, 0);
  const std::string digest = scene_.One("SELECT sha256 FROM artifacts WHERE kind = 'checkpoint'");
  std::filesystem::copy_file(
      scene_.Path("results.db.artifacts/" + digest.substr(0, 2) + "/" + digest.substr(2)),
      scene_.Path("model.safetensors"));
  const Ended last = scene_.Run({"model", "show", "1", "--checkpoint", "last"});
  EXPECT_EQ(last.exit_code, 4);
  EXPECT_THAT(last.err, HasSubstr("no last checkpoint of trial 1 is kept"));
  EXPECT_THAT(last.err, HasSubstr("but its best one is: --checkpoint best"));
  const std::vector<std::string> logits = {"model", "logits", scene_.Path("model.safetensors"),
                                           "--tokens", "3,1,4,1,5"};
  const auto with_data = Json(logits);
  scene_.Write("foreign.safetensors", std::string("\x02\0\0\0\0\0\0\0{}", 10));
  const std::string foreign = scene_.Path("foreign.safetensors");
  EXPECT_THAT(scene_.Run({"model", "show", foreign}).err,
              HasSubstr(foreign + ": no checkpoint of"));
  std::vector<std::string> of_nothing = logits;
  of_nothing.back() = "";
  EXPECT_THAT(scene_.Run(of_nothing).err, HasSubstr("want ids of tokens"));
  ASSERT_EQ(with_data.at("logits").size(), 64u);

  scene_.environment.erase("SAFFRON_DATA");
  scene_.environment.erase("SAFFRON_CACHE");
  scene_.environment["HOME"] = scene_.Path("empty");
  scene_.environment["XDG_STATE_HOME"] = scene_.Path("empty/state");
  scene_.environment["SAFFRON_DB"] = scene_.Path("empty/results.db");
  std::filesystem::create_directory(scene_.Path("empty"));
  EXPECT_EQ(Json(logits), with_data);
  const Ended measured = scene_.Run({"model", "eval", scene_.Path("model.safetensors")});
  EXPECT_EQ(measured.exit_code, 2);
  EXPECT_THAT(measured.err, HasSubstr("needs the corpus that the model was trained on "
                                      "(data.corpus tiny, fingerprint "));
  EXPECT_THAT(measured.err, HasSubstr("saffron data add tiny"));
}

TEST_F(ModelTest, AnotherVersionOfBfloat16MakesOnlyItsOwnTrialsUnrepeatable) {
  ASSERT_EQ(scene_
                .Run({"run", Sweep(R"(blocks:
  - name: other
    parameters: {train.lr: {value: 0.02}}
)"),
                      "--workers", "1"})
                .exit_code,
            0);
  // As if trial 2 had been made by an older build, in bfloat16.
  Change(
      "UPDATE variants SET json = json_set(json, '$.\"train.precision\"', 'bf16', "
      "'$.\"numerics.bf16\"', 1) WHERE id = (SELECT variant FROM trials WHERE id = 2)");
  EXPECT_EQ(scene_.Run({"replay", "1"}).exit_code, 0);
  const Ended refused = scene_.Run({"replay", "2"});
  EXPECT_NE(refused.exit_code, 0);
  EXPECT_THAT(refused.err, HasSubstr("trial 2: numerics.bf16: it was made for version 1"));
}

TEST_F(ModelTest, ATrialHasTheSameBitsOnAMachineWithoutAvx512) {
  ASSERT_EQ(scene_
                .Run({"run", Sweep(R"(blocks:
  - name: explicit
    parameters: {model.type: {value: saffu}, model.bits: {value: 8}}
)"),
                      "--workers", "1"})
                .exit_code,
            0);
  // What glibc picks its functions by, in this process alone.
  scene_.environment["GLIBC_TUNABLES"] =
      "glibc.cpu.hwcaps=-AVX512F,-AVX512VL,-AVX512BW,-AVX512DQ,-AVX512CD";
  scene_.environment["SAFFRON_CPU"] = "x86-64-v3";
  for (const char* trial : {"1", "2"}) {
    const Ended replayed = scene_.Run({"replay", trial});
    EXPECT_EQ(replayed.exit_code, 0) << replayed.out << replayed.err;
    EXPECT_THAT(replayed.err, HasSubstr("the same, bit for bit"));
  }
}

TEST_F(ModelTest, TrialsInBfloat16WaitWhereTheCpuHasItNot) {
  scene_.environment["SAFFRON_CPU"] = "x86-64-v3";
  const std::string sweep = Sweep(R"(blocks:
  - name: precision
    parameters: {train.precision: {value: bf16}}
)");
  const Ended ran = scene_.Run({"run", sweep, "--workers", "1"});
  EXPECT_EQ(ran.exit_code, 2);
  EXPECT_THAT(ran.err, HasSubstr("1 trial waits for a worker with AVX512-BF16 in its CPU, for "
                                 "train.precision bf16"));
  EXPECT_EQ(scene_.One("SELECT group_concat(state || ' ' || attempts, ', ') FROM trials"),
            "succeeded 1, queued 0");
  scene_.environment.erase("SAFFRON_CPU");
  if (!__builtin_cpu_supports("avx512bf16")) return;
  EXPECT_EQ(scene_.Run({"run", sweep, "--workers", "1"}).exit_code, 0);
  EXPECT_EQ(scene_.One("SELECT attempts FROM trials WHERE id = 2"), "1");

  // A child of it, whose parent would have to be made again, waits as well.
  scene_.environment["SAFFRON_CPU"] = "x86-64-v3";
  const std::string grown = Sweep(R"(blocks:
  - name: precision
    parameters: {train.precision: {value: bf16}}
  - name: child
    init_from: {variant: precision}
    parameters: {train.lr: {value: 0.005}}
)");
  for (int again = 0; again < 2; ++again) {  // submitted; loaded
    const Ended waits = scene_.Run({"run", grown, "--workers", "1"});
    EXPECT_EQ(waits.exit_code, 2);
    EXPECT_THAT(waits.err, HasSubstr("1 trial waits for a worker with AVX512-BF16 in its CPU"));
    EXPECT_EQ(scene_.One("SELECT state || ' ' || attempts FROM trials WHERE id = 3"), "queued 0");
  }
  scene_.environment.erase("SAFFRON_CPU");
  EXPECT_EQ(scene_.Run({"run", grown, "--workers", "1"}).exit_code, 0);
}

}  // namespace
}  // namespace saffron
