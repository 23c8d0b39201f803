// What the comments of the shipped sweeps and the list of them promise.

#include <fstream>
#include <regex>
#include <set>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "coordinator/sweep/expand.h"
#include "coordinator/sweep/sweep_reader.h"
#include "gtest/gtest.h"

namespace saffron {
namespace {

Expansion ExpandFile(const std::string& name, const std::vector<std::string>& set = {}) {
  const auto spec = ReadSweepFile(absl::StrCat(SAFFRON_SOURCE_DIR, "/sweeps/", name), {.set = set});
  EXPECT_TRUE(spec.ok()) << spec.status();
  if (!spec.ok()) return {};
  auto expansion = Expand(*spec);
  EXPECT_TRUE(expansion.ok()) << expansion.status();
  return expansion.ok() ? *std::move(expansion) : Expansion{};
}

TEST(SweepPromisesTest, TheListOfSweepsCountsTheirVariants) {
  std::ifstream list(SAFFRON_SOURCE_DIR "/sweeps/README.md");
  const std::regex row(R"(\| \[`([a-z_]+\.yaml)`\].*\| ([0-9]+) \|)");
  std::string line;
  int rows = 0;
  while (std::getline(list, line)) {
    std::smatch match;
    if (!std::regex_match(line, match, row)) continue;
    ++rows;
    EXPECT_EQ(ExpandFile(match[1]).variants.size(), std::stoul(match[2])) << match[1];
  }
  EXPECT_GE(rows, 5);
}

TEST(SweepPromisesTest, TheRoadmapIsChosenOnValidation) {
  EXPECT_EQ(ExpandFile("saffu_roadmap.yaml").metric, "valid/perplexity");
}

TEST(SweepPromisesTest, TheRoadmapKeepsItsShapeAtATenthOfTheData) {
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

TEST(SweepPromisesTest, ExplicitAgainstRandomGivesBothStartsTheSameGrid) {
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
