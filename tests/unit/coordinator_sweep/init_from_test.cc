// Blocks that start from the models of other variants.

#include <set>
#include <string>

#include "coordinator/sweep/expand.h"
#include "coordinator/sweep/sweep_reader.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace saffron {
namespace {

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
    "baseline: {model.bits: 16}\n"
    "blocks:\n"
    "  - name: small\n"
    "    parameters: {model.context: {values: [2, 4]}}\n";

TEST(InitFromTest, AChildIsAnotherVariantThanTheSameFromScratch) {
  const Expansion e = MustExpand(std::string(kSmall) +
                                 "  - name: grown\n"
                                 "    init_from: {variant: baseline, derive: [layers 4]}\n"
                                 "    parameters: {model.context: {values: [2, 4]}}\n");
  // The baseline has context 4 or 2 itself, so `small` adds one or two.
  std::set<std::string> digests;
  int children = 0;
  for (const ExpandedVariant& v : e.variants) {
    digests.insert(v.digest);
    if (!v.init) continue;
    ++children;
    EXPECT_EQ(v.init->parent, 0);
    EXPECT_THAT(v.init->derive, ElementsAre("layers 4"));
    EXPECT_FALSE(v.init->best);
  }
  EXPECT_EQ(children, 2);
  EXPECT_EQ(digests.size(), e.variants.size());
}

TEST(InitFromTest, EverythingAboutTheParentIsPartOfTheIdentity) {
  std::set<std::string> digests;
  for (const char* init :
       {"variant: baseline", "variant: 'small #0'", "variant: baseline, seed: 1",
        "variant: baseline, checkpoint: best", "variant: baseline, derive: [a]",
        "variant: baseline, derive: [a, b]", "variant: baseline, derive: [b, a]"}) {
    const Expansion e = MustExpand(std::string(kSmall) + "  - name: grown\n    init_from: {" +
                                   init + "}\n    parameters: {model.bits: {value: 64}}\n");
    ASSERT_TRUE(e.variants.back().init.has_value()) << init;
    EXPECT_TRUE(digests.insert(e.variants.back().digest).second) << init;
  }
}

TEST(InitFromTest, ParentsAreNamedByBlockPositionOrDifference) {
  const Expansion e = MustExpand(std::string(kSmall) +
                                 "  - name: one\n"
                                 "    init_from: {variant: 'small #1'}\n"
                                 "    parameters: {model.bits: {value: 32}}\n"
                                 "  - name: two\n"
                                 "    init_from: {variant: one}\n"
                                 "    parameters: {model.bits: {value: 64}}\n"
                                 "  - name: each\n"
                                 "    init_from: {variant: {model.bits: 16}}\n"
                                 "    parameters:\n"
                                 "      model.context: {values: [2, 4]}\n"
                                 "      model.bits: {value: 128}\n");
  const auto context = [&](int64_t i) { return e.variants[i].variant.Int("model.context"); };
  int each = 0;
  for (const ExpandedVariant& v : e.variants) {
    if (!v.init) continue;
    const std::string& block = e.blocks[v.origins[0].block].name;
    const ExpandedVariant& parent = e.variants[v.init->parent];
    if (block == "one") {
      EXPECT_EQ(context(v.init->parent), 4);
    }
    if (block == "two") {
      EXPECT_EQ(e.blocks[parent.origins[0].block].name, "one");
    }
    if (block == "each") {
      ++each;
      EXPECT_EQ(parent.variant.Int("model.bits"), 16);
      EXPECT_EQ(parent.variant.Int("model.context"), v.variant.Int("model.context"));
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
                   "}\n    parameters: {model.bits: {value: 64}}\n"
                   "  - name: below\n    parameters: {model.bits: {value: 8}}\n");
  };
  EXPECT_THAT(error("variant: smal"), HasSubstr("did you mean small?"));
  EXPECT_THAT(error("variant: below"), HasSubstr("stands below it: move it up"));
  EXPECT_THAT(error("variant: small"), HasSubstr("name one as \"small #N\""));
  EXPECT_THAT(error("variant: 'small #7'"), HasSubstr("\"small #0\" to \"small #1\""));
  EXPECT_THAT(error("variant: {model.bits: 999}"), HasSubstr("none that differs in model.bits"));
  EXPECT_THAT(error("checkpoint: best"), HasSubstr("got none"));
  EXPECT_THAT(error("variant: baseline, seed: 2"), HasSubstr("1 to 1"));
  EXPECT_THAT(error("variant: baseline, checkpoint: first"), HasSubstr("init_from.checkpoint"));
  EXPECT_THAT(error("variant: baseline, derive: ['']"), HasSubstr("init_from.derive"));
  EXPECT_THAT(error("varient: baseline"), HasSubstr("did you mean variant?"));
}

TEST(InitFromTest, ReadingWhatWasPrintedGivesTheSame) {
  const std::string text =
      std::string(kSmall) +
      "  - name: grown\n"
      "    init_from: {variant: 'small #1', seed: 1, checkpoint: best, derive: "
      "['layers 4', 'a: \"b\"']}\n"
      "  - name: each\n"
      "    init_from: {variant: {model.bits: 16}}\n"
      "    parameters: {model.bits: {value: 128}}\n"
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
