#include "coordinator/sweep/sweep_reader.h"

#include <unistd.h>

#include <cstdio>
#include <filesystem>
#include <fstream>
#include <string>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "coordinator/sweep/expand.h"
#include "google/protobuf/util/json_util.h"
#include "gtest/gtest.h"

namespace saffron {
namespace {

constexpr char kSweep[] = R"(
version: 1
name: roadmap
question: "Which is best?"
metric: {name: test/accuracy, goal: maximize}
constants: {tokens: 1000000, small: "= tokens / 10", corpus: sotu}
baseline:
  data.corpus: "= corpus"
  data.tokens: "= small"
  train.lr: 1e-3
include_baseline: false
blocks:
  - name: size
    count: 7
    parameters:
      model.bits: {values: [16, 32]}
      train.lr: {distribution: log_uniform_values, min: 3.1e-3, max: 0.01, count: 3}
    zip:
      - {train.steps: [0, 300], train.init: [explicit, random]}
    derived: {train.warmup: 0.1 * train.steps}
    when: {model.bits: "true"}
    exclude: ["model.bits > 1000"]
  - name: parts
    ablate:
      mode: cumulative
      groups:
        no attention: {model.attention: static}
        sum: {model.head: sum, model.bits: 32}
seeds: {count: 3, first: 17}
resources: {threads: 1, memory: 2GiB}
retry: {preempted: unlimited, error: 2}
limits: {variants: 500, trial_time: 2h, total_time: 1h 30m}
sampling_seed: 5
stop: {rule: none}
init_from: {}
claims: []
)";

v1::SweepSpec Read(const std::string& text, const ReadOptions& options = {},
                   SweepFormat format = SweepFormat::kYaml) {
  absl::StatusOr<v1::SweepSpec> spec = ReadSweepText(text, format, "folder/s.yaml", options);
  EXPECT_TRUE(spec.ok()) << spec.status();
  return spec.ok() ? *spec : v1::SweepSpec();
}

std::string ErrorOf(const std::string& text, const ReadOptions& options = {}) {
  return std::string(ReadSweepText(text, SweepFormat::kYaml, "s.yaml", options).status().message());
}

std::string WithoutPositions(v1::SweepSpec spec) {
  ClearPositions(&spec);
  return spec.DebugString();
}

TEST(SweepReaderTest, ReadsEverythingThatASweepMayHave) {
  const v1::SweepSpec spec = Read(kSweep);
  EXPECT_EQ(spec.name(), "roadmap");
  EXPECT_EQ(spec.question(), "Which is best?");
  EXPECT_EQ(spec.metric().goal(), v1::SweepMetric::MAXIMIZE);
  EXPECT_EQ(spec.constants(1).value().expression(), "tokens / 10");
  EXPECT_EQ(spec.baseline(2).value().number(), 0.001);
  EXPECT_FALSE(spec.include_baseline());
  ASSERT_EQ(spec.blocks_size(), 2);
  const v1::Block& size = spec.blocks(0);
  EXPECT_EQ(size.count(), 7);
  EXPECT_EQ(size.parameters(0).values(1).integer(), 32);
  EXPECT_EQ(size.parameters(1).distribution(), v1::Parameter::LOG_UNIFORM_VALUES);
  EXPECT_EQ(size.parameters(1).min().number(), 0.0031);
  EXPECT_EQ(size.zip(0).parameters(1).values(1).text(), "random");
  EXPECT_EQ(size.derived(0).expression().text(), "0.1 * train.steps");
  EXPECT_EQ(size.when(0).expression().text(), "true");
  EXPECT_EQ(size.exclude(0).text(), "model.bits > 1000");
  EXPECT_EQ(spec.blocks(1).ablate().mode(), v1::Ablation::CUMULATIVE);
  EXPECT_EQ(spec.blocks(1).ablate().groups(0).name(), "no attention");
  EXPECT_EQ(spec.seeds().count(), 3);
  EXPECT_EQ(spec.seeds().first(), 17u);
  EXPECT_EQ(spec.resources().memory_bytes(), int64_t{2} << 30);
  EXPECT_EQ(spec.retry().preempted(), -1);
  EXPECT_EQ(spec.retry().worker_lost(), 5);
  EXPECT_EQ(spec.retry().error(), 2);
  EXPECT_EQ(spec.limits().variants(), 500);
  EXPECT_EQ(spec.limits().trial_time().seconds(), 7200);
  EXPECT_EQ(spec.limits().total_time().seconds(), 5400);
  EXPECT_EQ(spec.sampling_seed(), 5u);
}

TEST(SweepReaderTest, WhatIsNotWrittenHasItsDefault) {
  const v1::SweepSpec spec = Read("parameters: {model.bits: {values: [16]}}\n");
  EXPECT_EQ(spec.version(), 1);
  EXPECT_EQ(spec.name(), "s");
  EXPECT_EQ(spec.source(), "folder/s.yaml");
  EXPECT_FALSE(spec.has_metric());
  EXPECT_FALSE(spec.include_baseline());
  EXPECT_EQ(spec.blocks(0).name(), "sweep");
  EXPECT_EQ(spec.blocks(0).method(), v1::Block::GRID);
  EXPECT_EQ(spec.seeds().count(), 1);
  EXPECT_EQ(spec.seeds().first(), 1u);
  EXPECT_EQ(spec.retry().preempted(), -1);
  EXPECT_EQ(spec.retry().out_of_memory(), 1);
  EXPECT_EQ(spec.retry().timeout(), 1);
  EXPECT_EQ(spec.retry().error(), 0);
  EXPECT_EQ(spec.limits().variants(), 100000);
  EXPECT_FALSE(spec.limits().has_trial_time());
}

TEST(SweepReaderTest, TheBaselineIsIncludedWhereItIsTheReference) {
  const std::string axis = "parameters: {model.bits: {values: [16]}}\n";
  EXPECT_FALSE(Read(axis).include_baseline());
  EXPECT_TRUE(Read("baseline: {model.bits: 32}\n" + axis).include_baseline());
  EXPECT_TRUE(Read("ablate: {groups: {a: {model.bits: 32}}}\n").include_baseline());
  EXPECT_TRUE(Read("name: x\n").include_baseline());
  EXPECT_FALSE(
      Read("include_baseline: false\nbaseline: {model.bits: 32}\n" + axis).include_baseline());
}

TEST(SweepReaderTest, ASweepFileOfWandbLoadsAsItIs) {
  const v1::SweepSpec spec = Read(R"(
program: train.py
project: saffron-lr
entity: my-team
description: learning rates
command:
  - ${env}
  - python
  - ${program}
  - ${args}
method: random
metric:
  name: test/perplexity
  goal: minimize
  target: 50
run_cap: 12
parameters:
  train.lr:
    distribution: log_uniform_values
    min: 0.0001
    max: 0.1
  train.steps: {value: 100}
  train.batch:
    distribution: q_log_uniform_values
    q: 8
    min: 32
    max: 256
  train.warmup: {min: 0, max: 10}
  train.optimizer:
    values: ["adam", "sgd"]
    probabilities: [0.7, 0.3]
  model:
    parameters:
      bits: {values: [16, 32]}
      noise: {distribution: normal, mu: 0.1, sigma: 0.01}
      features: {distribution: constant, value: noisy}
)");
  const absl::StatusOr<Expansion> expansion = Expand(spec);
  ASSERT_TRUE(expansion.ok()) << expansion.status();
  EXPECT_EQ(expansion->variants.size(), 12u);
  EXPECT_EQ(spec.blocks(0).parameters(3).distribution(), v1::Parameter::INT_UNIFORM);
  for (const ExpandedVariant& v : expansion->variants) {
    EXPECT_EQ(v.origins[0].role, VariantRole::kRandom);
    EXPECT_EQ(v.variant.Int("train.batch") % 8, 0);
    EXPECT_EQ(v.variant.String("model.features"), "noisy");
  }
  ASSERT_EQ(spec.notes_size(), 6);
  EXPECT_EQ(spec.notes(0), "folder/s.yaml:15:3: metric.target: ignored; it has no meaning here");
  EXPECT_EQ(spec.notes(1), "folder/s.yaml:2:1: program: ignored; it has no meaning here");
}

TEST(SweepReaderTest, ARunCapOfAGridTakesItsFirst) {
  const auto all = Expand(Read("parameters: {model.bits: {values: [16, 32, 64]}}\n"));
  const auto two = Expand(Read("run_cap: 2\nparameters: {model.bits: {values: [16, 32, 64]}}\n"));
  ASSERT_TRUE(all.ok() && two.ok());
  ASSERT_EQ(two->variants.size(), 2u);
  EXPECT_EQ(two->variants[1].digest, all->variants[1].digest);
}

TEST(SweepReaderTest, JsonInYamlsShapeIsTheSameSweep) {
  const v1::SweepSpec json = Read(R"({"name": "roadmap", "baseline": {"train.lr": 1e-3},
    "parameters": {"model.bits": {"values": [16, 32]}, "model.features": {"value": "l\u0031"}},
    "exclude": ["model.bits \u003e 1000"], "limits": {"trial_time": "2h"}})",
                                  {}, SweepFormat::kJson);
  const v1::SweepSpec yaml = Read(R"(
name: roadmap
baseline: {train.lr: 0.001}
parameters: {model.bits: {values: [16, 32]}, model.features: {value: l1}}
exclude: ["model.bits > 1000"]
limits: {trial_time: 2h}
)");
  EXPECT_EQ(WithoutPositions(json), WithoutPositions(yaml));
}

TEST(SweepReaderTest, TextprotoAndJsonOfTheMessageReadBackEqual) {
  const v1::SweepSpec spec = Read(kSweep);
  const v1::SweepSpec from_text = Read(spec.DebugString(), {}, SweepFormat::kTextproto);
  EXPECT_EQ(WithoutPositions(from_text), WithoutPositions(spec));
  EXPECT_EQ(from_text.source(), "folder/s.yaml");
  std::string json;
  ASSERT_TRUE(google::protobuf::util::MessageToJsonString(spec, &json).ok());
  EXPECT_EQ(WithoutPositions(Read(json, {}, SweepFormat::kJson)), WithoutPositions(spec));
}

TEST(SweepReaderTest, CanonicalTextReadsBackEqual) {
  const v1::SweepSpec spec = Read(kSweep);
  const std::string text = CanonicalSpecText(spec);
  EXPECT_EQ(WithoutPositions(Read(text)), WithoutPositions(spec)) << text;
  EXPECT_EQ(CanonicalSpecText(Read(text)), text);
}

TEST(SweepReaderTest, TheDigestIsOfTheMeaningAndNotOfTheSpelling) {
  const v1::SweepSpec spec = Read("name: a\nparameters: {model.bits: {values: [16, 32]}}\n");
  EXPECT_EQ(SpecDigest(spec), SpecDigest(Read(R"(
# The same, in other words.
parameters:
  "model.bits":
    values:
      - 16
      - 32
name: "a"
seeds: {count: 1}
)")));
  EXPECT_NE(SpecDigest(spec),
            SpecDigest(Read("name: a\nparameters: {model.bits: {values: [16, 33]}}\n")));
}

TEST(SweepReaderTest, AliasesStandForWhatTheyName) {
  const v1::SweepSpec spec = Read(R"(
blocks:
  - name: a
    parameters: &axes {model.bits: {values: [16, 32]}}
  - name: b
    parameters: *axes
    exclude: ["model.bits == 16"]
)");
  EXPECT_EQ(spec.blocks(1).parameters(0).values_size(), 2);
}

TEST(SweepReaderTest, SetReplacesConstantsAndBaselineValues) {
  const std::string text =
      "constants: {tokens: 1000000, corpus: sotu}\nbaseline: {data.tokens: \"= tokens\", "
      "data.corpus: \"= corpus\"}\n";
  const auto variant = [&](const std::vector<std::string>& set) {
    return Expand(Read(text, {.set = set}))->variants.front().variant;
  };
  EXPECT_EQ(variant({}).Int("data.tokens"), 1000000);
  EXPECT_EQ(variant({"tokens=100000"}).Int("data.tokens"), 100000);
  EXPECT_EQ(variant({"tokens=1e5"}).Int("data.tokens"), 100000);
  EXPECT_EQ(variant({"corpus=2024"}).String("data.corpus"), "2024");
  EXPECT_EQ(variant({"data.tokens=5000"}).Int("data.tokens"), 5000);
  EXPECT_EQ(variant({"data.tokens== tokens / 4"}).Int("data.tokens"), 250000);
  EXPECT_EQ(variant({"model.bits=32", "model.bits=16"}).Int("model.bits"), 16);
  EXPECT_EQ(variant({"model.head=sum"}).String("model.head"), "sum");
}

TEST(SweepReaderTest, SetSaysWhatIsWrong) {
  const std::string text = "constants: {tokens: 1000000}\nbaseline: {data.tokens: \"= tokens\"}\n";
  EXPECT_EQ(
      ErrorOf(text, {.set = {"toknes=3"}}),
      "--set toknes=3: want a constant of the sweep (tokens) or a registered key, got toknes; did "
      "you mean tokens?");
  EXPECT_EQ(ErrorOf("baseline: {model.bits: 32}\n", {.set = {"tokens=3"}}),
            "--set tokens=3: want a registered key (the sweep has no constants), got tokens; did "
            "you mean "
            "data.tokens?");
  EXPECT_EQ(ErrorOf(text, {.set = {"tokens=many"}}),
            "--set tokens=many: want a number, as the constant is in the sweep, got many");
  EXPECT_EQ(ErrorOf(text, {.set = {"model.bits=-1"}}),
            "--set model.bits=-1: want an integer in [2, 1024], got -1");
  EXPECT_EQ(ErrorOf(text, {.set = {"model.bits"}}),
            "--set model.bits: want NAME=VALUE, as in tokens=100000, got something else");
  EXPECT_EQ(ErrorOf(text, {.set = {"tokens=10"}}),
            "s.yaml:2:25: data.tokens: want an integer in [1000, 1000000000], got 10 = tokens");
}

TEST(SweepReaderTest, AMessageFromTheNetworkIsCheckedToo) {
  v1::SweepSpec spec;
  spec.set_name("x");
  v1::Setting* setting = spec.add_baseline();
  setting->set_key("model.bits");
  setting->mutable_value()->set_integer(5000);
  spec.mutable_seeds()->set_count(-1);
  spec.mutable_limits()->set_variants(1LL << 40);
  spec.mutable_retry()->set_error(-2);
  EXPECT_EQ(CheckSpec(&spec).message(),
            "sweep: seeds.count: want an integer in [1, 10000], got -1\n"
            "sweep: retry.error: want an integer in [-1, 1000], got -2\n"
            "sweep: limits.variants: want an integer in [1, 1000000], got 1099511627776\n"
            "sweep: model.bits: want an integer in [2, 1024], got 5000");
}

class SweepFileTest : public ::testing::Test {
 protected:
  SweepFileTest()
      : folder_(std::filesystem::temp_directory_path() /
                absl::StrCat("saffron_sweep_file_test_", getpid())) {
    std::filesystem::create_directories(folder_);
  }
  ~SweepFileTest() override { std::filesystem::remove_all(folder_); }
  std::string Path(const std::string& name) const { return folder_ / name; }
  std::string Write(const std::string& name, const std::string& text) {
    std::ofstream(Path(name), std::ios::binary) << text;
    return Path(name);
  }

  std::filesystem::path folder_;
};

TEST_F(SweepFileTest, AFileIsReadByTheFormatOfItsEnding) {
  const std::string axis = "parameters: {model.bits: {values: [16]}}\n";
  EXPECT_EQ(ReadSweepFile(Write("Data scale.yaml", axis))->name(), "Data scale");
  EXPECT_TRUE(ReadSweepFile(Write("a.yml", "\xEF\xBB\xBF" + axis)).ok());
  EXPECT_TRUE(ReadSweepFile(Write("a", axis)).ok());
  EXPECT_TRUE(ReadSweepFile(Write("a.json", "{\"name\": \"x\"}")).ok());
  EXPECT_FALSE(ReadSweepFile(Write("b.json", axis)).ok());
  EXPECT_TRUE(ReadSweepFile(Write("a.textproto", "name: \"x\"\n")).ok());
  EXPECT_EQ(ReadSweepFile(Write("last.yaml", axis)).status().code(),
            absl::StatusCode::kInvalidArgument);
}

TEST_F(SweepFileTest, ADirectoryIsNoSweep) {
  EXPECT_EQ(ReadSweepFile(folder_).status().message(),
            folder_.string() + ": want a sweep file, got a directory");
}

TEST_F(SweepFileTest, AMissingFileIsAMistakeOfTheUserAndItsNeighbourIsNamed) {
  Write("roadmap.yaml", "name: x\n");
  const absl::Status status = ReadSweepFile(Path("raodmap.yaml")).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(status.message(), absl::StrCat(Path("raodmap.yaml"),
                                           ": want a sweep file, got an error: No such file or "
                                           "directory; did you mean ",
                                           Path("roadmap.yaml"), "?"));
}

TEST_F(SweepFileTest, AHugeFileIsRefusedUnread) {
  // A hole of 50 GB: reading it would take minutes.
  const std::string path = Write("huge.yaml", "");
  std::filesystem::resize_file(path, int64_t{50} << 30);
  EXPECT_EQ(ReadSweepFile(path).status().message(),
            path + ": want a sweep file of at most 4 MiB, got 51200 MiB");
}

TEST_F(SweepFileTest, AnEndlessFileIsReadNoFurtherThanTheLimit) {
  EXPECT_EQ(ReadSweepFile("/dev/zero").status().message(),
            "/dev/zero: want a sweep file of at most 4 MiB, got more");
}

}  // namespace
}  // namespace saffron
