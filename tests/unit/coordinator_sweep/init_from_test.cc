// Blocks that start from the models of other variants.

#include <set>
#include <string>

#include "coordinator/sweep/expand.h"
#include "coordinator/sweep/sweep_reader.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace saffron {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

absl::StatusOr<Expansion> Try(const std::string& text) {
  const absl::StatusOr<v1::SweepSpec> spec = ReadSweepText(text, SweepFormat::kYaml, "s.yaml");
  if (!spec.ok()) return spec.status();
  return Expand(*spec);
}

Expansion MustExpand(const std::string& text) {
  absl::StatusOr<Expansion> expansion = Try(text);
  EXPECT_TRUE(expansion.ok()) << expansion.status();
  return expansion.ok() ? *std::move(expansion) : Expansion();
}

std::string ErrorOf(const std::string& text) { return std::string(Try(text).status().message()); }

constexpr char kSmall[] =
    "baseline: {model.type: transformer, model.hidden_width: 16, model.head_dim: 8}\n"
    "blocks:\n"
    "  - name: small\n"
    "    parameters: {model.mlp_width: {values: [32, 64]}}\n";

TEST(InitFromTest, AChildIsAnotherVariantThanTheSameFromScratch) {
  const Expansion e = MustExpand(std::string(kSmall) +
                                 "  - name: grown\n"
                                 "    init_from: {variant: 'small #0', derive: ['layers:4']}\n"
                                 "    parameters:\n"
                                 "      model.mlp_width: {value: 32}\n"
                                 "      model.layers: {value: 4}\n"
                                 "      model.window: {values: [16, 32]}\n");
  std::set<std::string> digests;
  int children = 0;
  for (const ExpandedVariant& v : e.variants) {
    digests.insert(v.digest);
    if (!v.init) continue;
    ++children;
    EXPECT_EQ(e.variants[v.init->parent].variant.Int("model.mlp_width"), 32);
    EXPECT_THAT(v.init->derive, ElementsAre("layers:4"));
    EXPECT_FALSE(v.init->best);
    EXPECT_FALSE(v.init->reset_state);
  }
  EXPECT_EQ(children, 2);
  EXPECT_EQ(digests.size(), e.variants.size());
}

TEST(InitFromTest, EverythingAboutTheParentIsPartOfTheIdentity) {
  std::set<std::string> digests;
  for (const char* init : {"variant: baseline", "variant: 'small #0'", "variant: baseline, seed: 1",
                           "variant: baseline, checkpoint: best", "variant: baseline, state: reset",
                           "variant: baseline, derive: ['hidden:32', 'mlp:128']",
                           "variant: baseline, derive: ['mlp:128', 'hidden:32']",
                           "variant: baseline, derive: ['mlp:128,hidden:32']"}) {
    const Expansion e =
        MustExpand(std::string(kSmall) + "  - name: grown\n    init_from: {" + init +
                   "}\n    parameters:\n      model.hidden_width: {value: 32}\n"
                   "      model.mlp_width: {value: 128}\n");
    ASSERT_TRUE(e.variants.back().init.has_value()) << init;
    EXPECT_TRUE(digests.insert(e.variants.back().digest).second) << init;
  }
}

TEST(InitFromTest, StateThatIsAskedForMustBeThere) {
  const auto init = [](const std::string& how, const std::string& more = "") {
    const std::string head = "baseline: {train.steps: 5, ";
    return head + std::string(kSmall).substr(std::string("baseline: {").size()) +
           "  - name: grown\n    init_from: {variant: 'small #0'" + how +
           "}\n    parameters: {model.mlp_width: {value: 128}" + more + "}\n";
  };
  const std::string muon = ", train.optimizer: {value: muon}";
  EXPECT_THAT(ErrorOf(init(", checkpoint: best, state: keep")),
              HasSubstr("init_from.state: want reset with checkpoint: best"));
  EXPECT_THAT(ErrorOf(init(", state: keep", muon)),
              HasSubstr("init_from: state: train.optimizer of the parent is"));
  // By default it goes along as far as it can.
  const std::string kept = MustExpand(init(", state: keep")).variants.back().digest;
  EXPECT_EQ(MustExpand(init("")).variants.back().digest, kept);
  EXPECT_TRUE(MustExpand(init(", checkpoint: best")).variants.back().init.has_value());
  EXPECT_TRUE(MustExpand(init("", muon)).variants.back().init.has_value());
  EXPECT_TRUE(MustExpand(init(", state: reset", muon)).variants.back().init.has_value());
}

TEST(InitFromTest, RoutersWithWhichADenseModelWouldChangeAreRefused) {
  const auto experts = [](const std::string& settings) {
    return std::string(kSmall) +
           "  - name: sparse\n    init_from: {variant: 'small #0'}\n    parameters: "
           "{model.mlp_width: {value: 32}, model.experts: {value: 8}" +
           settings + "}\n";
  };
  EXPECT_THAT(ErrorOf(experts("")), AllOf(HasSubstr("s.yaml:6:"),
                                          HasSubstr("experts:8 is not exact: "
                                                    "model.second_policy is random: want all"),
                                          HasSubstr("model.eval_capacity is 2: want at least 8")));
  EXPECT_THAT(ErrorOf(experts(", model.second_policy: {value: all}, model.eval_capacity: "
                              "{value: 8}, model.expert_top: {value: 1}")),
              HasSubstr("experts:8 is not exact: model.expert_top is 1: want 2 or more"));
  EXPECT_EQ(MustExpand(experts(", model.second_policy: {value: all}, model.eval_capacity: "
                               "{value: 8}, model.expert_top: {values: [2, 3]}"))
                .variants.size(),
            5u);
}

TEST(InitFromTest, ParentsAreNamedByBlockPositionOrDifference) {
  const Expansion e = MustExpand(std::string(kSmall) +
                                 "  - name: one\n"
                                 "    init_from: {variant: 'small #1'}\n"
                                 "    parameters: {model.mlp_width: {value: 128}}\n"
                                 "  - name: two\n"
                                 "    init_from: {variant: one}\n"
                                 "    parameters: {model.mlp_width: {value: 256}}\n"
                                 "  - name: each\n"
                                 "    init_from: {variant: {model.hidden_width: 16}}\n"
                                 "    parameters:\n"
                                 "      model.mlp_width: {values: [32, 64]}\n"
                                 "      model.hidden_width: {value: 24}\n");
  const auto width = [&](int64_t i) { return e.variants[i].variant.Int("model.mlp_width"); };
  int each = 0;
  for (const ExpandedVariant& v : e.variants) {
    if (!v.init) continue;
    const std::string& block = e.blocks[v.origins[0].block].name;
    const ExpandedVariant& parent = e.variants[v.init->parent];
    if (block == "one") {
      EXPECT_EQ(width(v.init->parent), 64);
    }
    if (block == "two") {
      EXPECT_EQ(e.blocks[parent.origins[0].block].name, "one");
    }
    if (block == "each") {
      ++each;
      EXPECT_EQ(parent.variant.Int("model.hidden_width"), 16);
      EXPECT_EQ(parent.variant.Int("model.mlp_width"), v.variant.Int("model.mlp_width"));
    }
  }
  EXPECT_EQ(each, 2);
}

TEST(InitFromTest, BlocksThatStartFromEachOtherAreRefusedByName) {
  EXPECT_THAT(ErrorOf("blocks:\n"
                      "  - name: egg\n"
                      "    init_from: {variant: hen}\n"
                      "    parameters: {model.bits: {value: 16}}\n"
                      "  - name: hen\n"
                      "    init_from: {variant: egg}\n"
                      "    parameters: {model.bits: {value: 32}}\n"),
              HasSubstr("s.yaml:3:17: init_from.variant: want blocks that do not start from each "
                        "other, got egg -> hen -> egg"));
  EXPECT_THAT(ErrorOf("blocks:\n"
                      "  - name: self\n"
                      "    init_from: {variant: self}\n"
                      "    parameters: {model.bits: {value: 16}}\n"),
              HasSubstr("got self -> self"));
}

TEST(InitFromTest, WhatCannotBeAParentIsSaid) {
  const auto error = [](const std::string& init) {
    return ErrorOf(std::string(kSmall) + "  - name: grown\n    init_from: {" + init +
                   "}\n    parameters: {model.mlp_width: {value: 128}}\n"
                   "  - name: below\n    parameters: {model.mlp_width: {value: 8}}\n");
  };
  EXPECT_THAT(error("variant: smal"), HasSubstr("did you mean small?"));
  EXPECT_THAT(error("variant: below"), HasSubstr("stands below it: move it up"));
  EXPECT_THAT(error("variant: small"), HasSubstr("name one as \"small #N\""));
  EXPECT_THAT(error("variant: 'small #7'"), HasSubstr("\"small #0\" to \"small #1\""));
  EXPECT_THAT(error("variant: {model.layers: 7}"), HasSubstr("none that differs in model.layers"));
  EXPECT_THAT(error("checkpoint: best"), HasSubstr("got none"));
  EXPECT_THAT(error("variant: baseline, seed: 2"), HasSubstr("1 to 1"));
  EXPECT_THAT(error("variant: baseline, checkpoint: first"), HasSubstr("init_from.checkpoint"));
  EXPECT_THAT(error("variant: baseline, derive: ['']"), HasSubstr("init_from.derive"));
  EXPECT_THAT(error("variant: baseline, derive: ['layer:2']"), HasSubstr("did you mean layers?"));
  EXPECT_THAT(error("variant: baseline, state: kept"), HasSubstr("init_from.state"));
  EXPECT_THAT(error("varient: baseline"), HasSubstr("did you mean variant?"));
}

TEST(InitFromTest, AParentThatCannotBecomeTheChildIsRefusedWhereItIsNamed) {
  const auto error = [](const std::string& init, const std::string& child) {
    return ErrorOf(std::string(kSmall) + "  - name: grown\n    init_from: {variant: " + init +
                   "}\n    parameters: {" + child + "}\n");
  };
  EXPECT_THAT(error("'small #1'", "model.mlp_width: {value: 32}"),
              AllOf(HasSubstr("s.yaml:6:17:"), HasSubstr("init_from: mlp:32: layers.0.mlp_width is "
                                                         "64: want more, got 32")));
  EXPECT_THAT(error("'small #0', derive: ['mlp:x2']", "model.mlp_width: {value: 128}"),
              HasSubstr("model.mlp_width: the parent's model grown by mlp:x2 has 64, this variant "
                        "wants 128; mlp:128 in init_from.derive would make it so"));
  EXPECT_THAT(error("baseline", "model.type: {value: saffu}"),
              HasSubstr("model.type: the parent's is \"transformer\", here it is \"saffu\""));
  EXPECT_THAT(error("baseline", "data.vocab: {value: 512}"), HasSubstr("data.vocab"));
}

TEST(InitFromTest, ReadingWhatWasPrintedGivesTheSame) {
  const std::string text =
      std::string(kSmall) +
      "  - name: grown\n"
      "    init_from: {variant: 'small #1', seed: 1, checkpoint: best, state: reset, derive: "
      "['layers:4', 'mlp:x2@0-1+3']}\n"
      "  - name: each\n"
      "    init_from: {variant: {model.hidden_width: 16}}\n"
      "    parameters: {model.hidden_width: {value: 24}}\n"
      "retry: {poison: 7}\n";
  const auto spec = ReadSweepText(text, SweepFormat::kYaml, "s.yaml");
  ASSERT_TRUE(spec.ok()) << spec.status();
  const std::string printed = CanonicalSpecText(*spec);
  const auto again = ReadSweepText(printed, SweepFormat::kYaml, "s.yaml");
  ASSERT_TRUE(again.ok()) << again.status() << printed;
  EXPECT_EQ(CanonicalSpecText(*again), printed);
  EXPECT_EQ(again->retry().poison(), 7);
  EXPECT_EQ(SpecDigest(*again), SpecDigest(*spec));
}

}  // namespace
}  // namespace saffron
