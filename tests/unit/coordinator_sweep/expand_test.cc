#include "coordinator/sweep/expand.h"

#include <algorithm>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "coordinator/sweep/sweep_reader.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace saffron {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

Expansion MustExpand(const std::string& text) {
  const absl::StatusOr<v1::SweepSpec> spec = ReadSweepText(text, SweepFormat::kYaml, "s.yaml");
  EXPECT_TRUE(spec.ok()) << spec.status();
  if (!spec.ok()) return {};
  absl::StatusOr<Expansion> expansion = Expand(*spec);
  EXPECT_TRUE(expansion.ok()) << expansion.status();
  return expansion.ok() ? *std::move(expansion) : Expansion();
}

// What differs from the defaults: "model.bits=16 train.steps=300".
std::string Shown(const ResolvedVariant& variant) {
  std::string text = variant.CanonicalText();
  std::replace(text.begin(), text.end(), '\n', ' ');
  if (!text.empty()) text.pop_back();
  return text;
}

std::vector<std::string> Variants(const Expansion& expansion) {
  std::vector<std::string> shown;
  for (const ExpandedVariant& v : expansion.variants) shown.push_back(Shown(v.variant));
  return shown;
}

TEST(ExpandTest, AGridIsTheProductInOrderTheLastAxisFastest) {
  EXPECT_THAT(Variants(MustExpand("parameters:\n  model.context: {values: [8, 2]}\n"
                                  "  model.bits: {values: [32, 16]}\n")),
              ElementsAre("model.bits=32 model.context=8", "model.bits=16 model.context=8",
                          "model.bits=32 model.context=2", "model.bits=16 model.context=2"));
}

TEST(ExpandTest, ZippedAxesMoveTogether) {
  EXPECT_THAT(Variants(MustExpand("zip:\n  - {train.steps: [10, 20], train.batch: [64, 32]}\n"
                                  "parameters: {model.bits: {values: [16, 32]}}\n")),
              ElementsAre("model.bits=16 train.batch=64 train.steps=10",
                          "model.bits=16 train.batch=32 train.steps=20",
                          "model.bits=32 train.batch=64 train.steps=10",
                          "model.bits=32 train.batch=32 train.steps=20"));
}

TEST(ExpandTest, DerivedKeysAreComputedInTheOrderTheyNeedEachOther) {
  EXPECT_THAT(
      Variants(MustExpand("constants: {share: 0.1}\nparameters: {train.batch: {values: [100]}}\n"
                          "derived:\n  train.warmup: share * train.steps\n"
                          "  train.steps: \"train.batch * 3 if model.bits > 8 else 0\"\n")),
      ElementsAre("train.batch=100 train.steps=300 train.warmup=30"));
}

TEST(ExpandTest, AnAxisExistsOnlyWhereItsConditionHolds) {
  const Expansion expansion = MustExpand(
      "parameters:\n  model.order: {values: [2, 3, 5]}\n"
      "  model.type: {values: [unigram, kneser_ney]}\n"
      "when: {model.order: \"model.type == 'kneser_ney'\"}\n");
  EXPECT_THAT(Variants(expansion),
              ElementsAre("model.type=\"unigram\"", "model.order=2 model.type=\"kneser_ney\"",
                          "model.type=\"kneser_ney\"", "model.order=5 model.type=\"kneser_ney\""));
  EXPECT_EQ(expansion.blocks[0].collapsed, 0);
}

TEST(ExpandTest, ConditionalAxesDoNotCountAsAFullProduct) {
  // Each of four axes of 100 exists in one of five cases: 401 combinations, not 5 x 10^8.
  std::string text =
      "parameters:\n  model.context: {values: [1, 2, 3, 4, 5]}\n  train.steps: {min: 1, max: 100}\n"
      "  train.batch: {min: 1, max: 100}\n  data.tokens: {min: 1000, max: 1099}\n"
      "  data.eval_tokens: {min: 200, max: 299}\nwhen:\n";
  int context = 1;
  for (const char* key : {"train.steps", "train.batch", "data.tokens", "data.eval_tokens"}) {
    absl::StrAppend(&text, "  ", key, ": model.context == ", context++, "\n");
  }
  EXPECT_EQ(
      MustExpand("baseline: {train.steps: 5}\ninclude_baseline: false\n" + text).variants.size(),
      401u);
}

TEST(ExpandTest, ExcludedCombinationsAreLeftOutAndCounted) {
  const Expansion expansion = MustExpand(
      "parameters:\n  model.bits: {values: [16, 32, 64]}\n  model.context: {values: [2, 8]}\n"
      "exclude:\n  - model.bits >= 32 and model.context == 8\n  - model.bits == 16 and "
      "model.context == "
      "2\n");
  EXPECT_THAT(Variants(expansion), ElementsAre("model.bits=16 model.context=8",
                                               "model.bits=32 model.context=2", "model.context=2"));
  EXPECT_EQ(expansion.blocks[0].excluded, 3);
  EXPECT_THAT(expansion.notes, IsEmpty());
}

TEST(ExpandTest, EqualVariantsCollapseIntoTheFirstAndRememberAllWhoNameThem) {
  const Expansion expansion = MustExpand(
      "baseline: {model.bits: 32}\nblocks:\n"
      "  - name: a\n    parameters: {model.bits: {values: [16, 32]}}\n"
      "  - name: b\n    parameters: {model.bits: {values: [32, 64, 16]}}\n");
  EXPECT_THAT(Variants(expansion), ElementsAre("model.bits=32", "model.bits=16", ""));
  const ExpandedVariant& baseline = expansion.variants[0];
  ASSERT_EQ(baseline.origins.size(), 3u);
  EXPECT_EQ(baseline.origins[0].role, VariantRole::kBaseline);
  EXPECT_EQ(baseline.origins[1].block, 1);
  EXPECT_EQ(baseline.origins[1].position, 1);
  EXPECT_EQ(baseline.origins[2].block, 2);
  EXPECT_EQ(baseline.origins[2].position, 0);
  ASSERT_EQ(expansion.blocks.size(), 3u);
  EXPECT_EQ(expansion.blocks[0].name, "baseline");
  EXPECT_EQ(expansion.blocks[1].distinct, 1);
  EXPECT_EQ(expansion.blocks[1].collapsed, 1);
  EXPECT_EQ(expansion.blocks[2].distinct, 1);
  EXPECT_EQ(expansion.blocks[2].collapsed, 2);
}

TEST(ExpandTest, SpellingsThatCannotMatterCollapse) {
  const Expansion expansion = MustExpand(
      "parameters: {train.lr: {values: [0.1, 0.2, 0.3]}, train.steps: {values: [0, 10]}}\n");
  EXPECT_EQ(expansion.variants.size(), 4u);
  EXPECT_EQ(expansion.blocks[0].collapsed, 2);
}

constexpr char kGroups[] =
    "  groups:\n    att: {model.attention: static}\n    head: {model.head: sum}\n"
    "    gains: {solve.gains: knorm, model.context: 2}\n";

std::vector<std::string> Ablations(const std::string& mode) {
  const Expansion expansion = MustExpand(absl::StrCat("ablate:\n  mode: ", mode, "\n", kGroups));
  EXPECT_TRUE(expansion.has_baseline);
  std::vector<std::string> shown;
  for (size_t i = 1; i < expansion.variants.size(); ++i) {
    const ExpandedVariant& v = expansion.variants[i];
    EXPECT_EQ(v.origins[0].role, VariantRole::kAblation);
    shown.push_back(absl::StrCat(v.origins[0].groups, ": ", Shown(v.variant)));
  }
  return shown;
}

TEST(ExpandTest, LeaveOneOutMakesOneChangeAtATime) {
  EXPECT_THAT(Ablations("leave_one_out"),
              ElementsAre("att: model.attention=\"static\"", "head: model.head=\"sum\"",
                          "gains: model.context=2 solve.gains=\"knorm\""));
}

TEST(ExpandTest, AddOneInStartsFromAllChangesAndTakesOneBack) {
  EXPECT_THAT(
      Ablations("add_one_in"),
      ElementsAre("att+head+gains: model.attention=\"static\" model.context=2 model.head=\"sum\" "
                  "solve.gains=\"knorm\"",
                  "head+gains: model.context=2 model.head=\"sum\" solve.gains=\"knorm\"",
                  "att+gains: model.attention=\"static\" model.context=2 solve.gains=\"knorm\"",
                  "att+head: model.attention=\"static\" model.head=\"sum\""));
}

TEST(ExpandTest, CumulativeKeepsTheChangesMade) {
  EXPECT_THAT(Ablations("cumulative"),
              ElementsAre("att: model.attention=\"static\"",
                          "att+head: model.attention=\"static\" model.head=\"sum\"",
                          "att+head+gains: model.attention=\"static\" model.context=2 "
                          "model.head=\"sum\" solve.gains=\"knorm\""));
}

TEST(ExpandTest, PairwiseMakesEveryGroupAloneAndEveryPair) {
  EXPECT_THAT(
      Ablations("pairwise"),
      ElementsAre("att: model.attention=\"static\"", "head: model.head=\"sum\"",
                  "gains: model.context=2 solve.gains=\"knorm\"",
                  "att+head: model.attention=\"static\" model.head=\"sum\"",
                  "att+gains: model.attention=\"static\" model.context=2 solve.gains=\"knorm\"",
                  "head+gains: model.context=2 model.head=\"sum\" solve.gains=\"knorm\""));
}

TEST(ExpandTest, AnAblationMultipliesWithAxes) {
  EXPECT_THAT(
      Variants(MustExpand("include_baseline: false\n"
                          "ablate: {groups: {sum: {model.head: sum}, st: {model.attention: "
                          "static}}}\nparameters: {data.tokens: {values: [10000, 20000]}}\n")),
      ElementsAre("data.tokens=10000 model.head=\"sum\"", "data.tokens=20000 model.head=\"sum\"",
                  "data.tokens=10000 model.attention=\"static\"",
                  "data.tokens=20000 model.attention=\"static\""));
}

TEST(ExpandTest, GridsOfDistributionsIncludeBothEnds) {
  EXPECT_THAT(
      Variants(MustExpand("baseline: {train.steps: 1}\ninclude_baseline: false\nparameters: "
                          "{train.lr: {distribution: log_uniform_values, min: 1e-4, max: 1e-2, "
                          "count: 5}}\n")),
      ElementsAre("train.lr=1e-04 train.steps=1", "train.lr=0.000316228 train.steps=1",
                  "train.steps=1", "train.lr=0.00316228 train.steps=1",
                  "train.lr=0.01 train.steps=1"));
  EXPECT_THAT(Variants(MustExpand("parameters: {train.steps: {min: 1, max: 3}}\n")),
              ElementsAre("train.steps=1", "train.steps=2", "train.steps=3"));
  EXPECT_THAT(
      Variants(MustExpand("parameters: {data.tokens: {distribution: log_uniform_values, min: "
                          "10000, max: 1000000, count: 3}}\n")),
      ElementsAre("data.tokens=10000", "data.tokens=100000", ""));
  EXPECT_THAT(
      Variants(MustExpand("parameters: {solve.kappa: {distribution: q_uniform, min: 0.1, max: "
                          "0.45, q: 0.1}}\n")),
      ElementsAre("solve.kappa=0.1", "solve.kappa=0.2", "solve.kappa=0.3", "solve.kappa=0.4"));
}

constexpr char kRandom[] =
    "    method: random\n    count: 50\n    parameters:\n"
    "      train.lr: {distribution: log_uniform_values, min: 1e-4, max: 1e-2}\n"
    "      train.steps: {min: 1, max: 1000}\n";

TEST(ExpandTest, RandomDrawsStayInRangeAndAreManyDifferentOnes) {
  const Expansion expansion = MustExpand(absl::StrCat("blocks:\n  - name: r\n", kRandom));
  EXPECT_EQ(expansion.variants.size(), 50u);
  int below_middle = 0;
  for (const ExpandedVariant& v : expansion.variants) {
    EXPECT_GE(v.variant.Double("train.lr"), 1e-4);
    EXPECT_LE(v.variant.Double("train.lr"), 1e-2);
    if (v.variant.Double("train.lr") < 1e-3) ++below_middle;
  }
  // Half of a log-uniform draw lies below the geometric mean; 10 and 40 of 50 are 4.2 sigma away.
  EXPECT_GT(below_middle, 10);
  EXPECT_LT(below_middle, 40);
}

TEST(ExpandTest, ARandomBlockDoesNotDependOnItsNeighbours) {
  const Expansion alone = MustExpand(absl::StrCat("blocks:\n  - name: r\n", kRandom));
  const Expansion among = MustExpand(absl::StrCat(
      "blocks:\n  - name: a\n    parameters: {model.bits: {values: [16]}}\n  - name: r\n", kRandom,
      "      train.beta1: {min: 0.5, max: 0.99}\n"));
  for (size_t i = 0; i < 50; ++i) {
    EXPECT_EQ(alone.variants[i].variant.Double("train.lr"),
              among.variants[i + 1].variant.Double("train.lr"));
  }
  const Expansion renamed = MustExpand(absl::StrCat("blocks:\n  - name: s\n", kRandom));
  const Expansion reseeded =
      MustExpand(absl::StrCat("sampling_seed: 1\nblocks:\n  - name: r\n", kRandom));
  EXPECT_NE(alone.variants[0].digest, renamed.variants[0].digest);
  EXPECT_NE(alone.variants[0].digest, reseeded.variants[0].digest);
}

// Frozen: these draws were made once and must never change, on any machine.
TEST(ExpandTest, DrawsAreTheSameEverywhere) {
  EXPECT_THAT(
      Variants(MustExpand("method: random\ncount: 3\nsampling_seed: 7\nparameters:\n"
                          "  train.lr: {distribution: log_uniform_values, min: 1e-4, max: 1e-2}\n"
                          "  train.steps: {min: 1, max: 1000}\n"
                          "  model.head: {values: [concat, sum]}\n"
                          "  solve.kappa: {distribution: normal, mu: 1, sigma: 0.2}\n")),
      ElementsAre("model.head=\"sum\" solve.kappa=1.00148 train.lr=0.000295966 train.steps=114",
                  "model.head=\"sum\" solve.kappa=0.664128 train.lr=0.000128969 "
                  "train.steps=865",
                  "solve.kappa=0.951806 train.lr=0.00100854 train.steps=691"));
}

TEST(ExpandTest, ProbabilitiesWeighTheValues) {
  const Expansion expansion = MustExpand(
      "method: random\ncount: 2000\nparameters:\n  train.steps: {min: 1, max: 1000000}\n"
      "  model.bits: {values: [16, 32, 64], probabilities: [6, 0, 2]}\n");
  std::map<int64_t, int> seen;
  for (const ExpandedVariant& v : expansion.variants) ++seen[v.variant.Int("model.bits")];
  EXPECT_EQ(seen.count(32), 0u);
  // 0.75 of about 2000, give or take five standard deviations of 19.4.
  EXPECT_NEAR(seen[16], 1500, 100);
}

TEST(ExpandTest, ExcludedDrawsAreMadeAgain) {
  const Expansion expansion = MustExpand(
      "method: random\ncount: 20\nparameters: {train.steps: {min: 1, max: 1000000}}\n"
      "exclude: [\"train.steps % 2 == 1\"]\n");
  EXPECT_EQ(expansion.variants.size(), 20u);
  EXPECT_GT(expansion.blocks[0].excluded, 0);
  for (const ExpandedVariant& v : expansion.variants) {
    EXPECT_EQ(v.variant.Int("train.steps") % 2, 0);
  }
}

TEST(ExpandTest, TheMetricIsTheSpecsOrTheUsualOne) {
  EXPECT_EQ(MustExpand("name: x\n").metric, "test/perplexity");
  EXPECT_FALSE(MustExpand("name: x\n").maximize);
  const Expansion named = MustExpand("metric: {name: valid/accuracy}\n");
  EXPECT_EQ(named.metric, "valid/accuracy");
  EXPECT_TRUE(named.maximize);
  EXPECT_FALSE(MustExpand("metric: {name: valid/accuracy, goal: minimize}\n").maximize);
}

TEST(ExpandTest, LegalThingsThatLookLikeMistakesAreNoted) {
  EXPECT_THAT(
      MustExpand("parameters: {train.lr: {values: [0.1, 0.2]}}\n").notes,
      ElementsAre("s.yaml:1:14: train.lr: matters to no variant of block sweep; it does where "
                  "train.steps is at least 1 and train.step_size is schedule"));
  EXPECT_THAT(
      MustExpand("baseline: {model.head: sum}\nablate:\n  groups:\n    a: {model.head: sum}\n"
                 "    b: {model.head: concat}\n")
          .notes,
      ElementsAre("s.yaml:2:1: a: changes nothing; the variant is the baseline"));
  EXPECT_THAT(
      MustExpand("parameters: {model.bits: {values: [16, 32]}, model.context: {values: [2]}}\n"
                 "exclude: [\"model.bits == 32\"]\n")
          .notes,
      ElementsAre("s.yaml:1:14: model.bits: exclude leaves no combination of block sweep with 32"));
  EXPECT_THAT(MustExpand("parameters: {model.bits: {values: [16]}, model.context: {values: [2]}}\n"
                         "when: {model.context: \"model.bits > 16\"}\n")
                  .notes,
              ElementsAre("s.yaml:1:42: model.context: its `when` holds nowhere in block sweep"));
}

TEST(ExpandTest, ANetworkSpecWithoutDefaultsExpandsAsIfTheyWereThere) {
  v1::SweepSpec spec;
  spec.set_name("x");
  v1::Block* block = spec.add_blocks();
  block->set_name("a");
  v1::Parameter* parameter = block->add_parameters();
  parameter->set_key("model.bits");
  parameter->add_values()->set_integer(16);
  const auto expansion = Expand(spec);
  ASSERT_TRUE(expansion.ok()) << expansion.status();
  EXPECT_THAT(Variants(*expansion), ElementsAre("model.bits=16"));
}

TEST(ExpandTest, RolesHaveTheNamesOfTheDatabase) {
  EXPECT_EQ(VariantRoleName(VariantRole::kBaseline), "baseline");
  EXPECT_EQ(VariantRoleName(VariantRole::kAblation), "ablation");
  EXPECT_EQ(VariantRoleName(VariantRole::kGrid), "grid");
  EXPECT_EQ(VariantRoleName(VariantRole::kRandom), "random");
}

}  // namespace
}  // namespace saffron
