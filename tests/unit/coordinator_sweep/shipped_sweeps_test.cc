// The sweeps that come along say what their comments and the README say of them.

#include <filesystem>
#include <set>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "coordinator/sweep/expand.h"
#include "coordinator/sweep/sweep_reader.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace saffron {
namespace {

Expansion ExpandFile(const std::string& name, const std::vector<std::string>& set = {}) {
  const auto spec = ReadSweepFile(absl::StrCat(SAFFRON_SOURCE_DIR, "/sweeps/", name), {.set = set});
  EXPECT_TRUE(spec.ok()) << spec.status();
  if (!spec.ok()) return {};
  EXPECT_NE(spec->question(), "") << name;
  auto expansion = Expand(*spec, {.corpora = std::vector<std::string>{"mnist", "sotu"}});
  EXPECT_TRUE(expansion.ok()) << expansion.status();
  return expansion.ok() ? *std::move(expansion) : Expansion{};
}

TEST(ShippedSweepsTest, EachExpandsWithoutASuspicion) {
  int files = 0;
  for (const auto& file : std::filesystem::directory_iterator(SAFFRON_SOURCE_DIR "/sweeps")) {
    if (file.path().extension() != ".yaml") continue;
    ++files;
    const Expansion expansion = ExpandFile(file.path().filename());
    EXPECT_FALSE(expansion.variants.empty()) << file.path();
    EXPECT_THAT(expansion.notes, testing::IsEmpty()) << file.path();
    EXPECT_EQ(expansion.metric.substr(0, 6), "valid/") << file.path();
  }
  EXPECT_GE(files, 5);
}

TEST(ShippedSweepsTest, TheRoadmapHasTwoHundredAndFiftyDistinctVariants) {
  const Expansion expansion = ExpandFile("saffu_roadmap.yaml");
  std::set<std::string> digests;
  for (const ExpandedVariant& variant : expansion.variants) digests.insert(variant.digest);
  EXPECT_EQ(digests.size(), expansion.variants.size());
  EXPECT_GE(digests.size(), 250);
}

TEST(ShippedSweepsTest, TheRoadmapKeepsItsShapeAtATenthOfTheData) {
  const Expansion whole = ExpandFile("saffu_roadmap.yaml");
  const Expansion tenth = ExpandFile("saffu_roadmap.yaml", {"tokens=100000"});
  ASSERT_EQ(tenth.variants.size(), whole.variants.size());
  for (size_t i = 0; i < whole.variants.size(); ++i) {
    const ResolvedVariant &large = whole.variants[i].variant, &small = tenth.variants[i].variant;
    EXPECT_EQ(small.Int("data.tokens") * 10, large.Int("data.tokens"));
    if (large.Has("train.steps")) {
      EXPECT_NEAR(small.Int("train.steps") * 10, large.Int("train.steps"), 5);
    }
  }
}

// Every architecture of the comparison is there with both starts, at equal steps.
TEST(ShippedSweepsTest, ExplicitAgainstRandomGivesBothStartsTheSameGrid) {
  std::multiset<std::string> explicit_side, random_side;
  for (const ExpandedVariant& variant : ExpandFile("explicit_vs_random.yaml").variants) {
    if (variant.variant.Int("train.steps") == 0) continue;
    std::string rest;
    for (const auto& [key, value] : variant.variant.params()) {
      if (key != "train.init" && key.substr(0, 6) != "solve.") {
        absl::StrAppend(&rest, key, "=", ParamValueText(value), "\n");
      }
    }
    const bool is_explicit = variant.variant.String("train.init") == "explicit";
    (is_explicit ? explicit_side : random_side).insert(rest);
  }
  EXPECT_FALSE(explicit_side.empty());
  EXPECT_EQ(explicit_side, random_side);
}

}  // namespace
}  // namespace saffron
