// The sweeps that come along, and the one that the README shows, do what they say.

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "coordinator/sweep/expand.h"
#include "coordinator/sweep/sweep_reader.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace saffron {
namespace {

using ::testing::IsEmpty;

const std::filesystem::path kRoot = SAFFRON_SOURCE_DIR;

std::string Contents(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

std::vector<std::string> Sweeps() {
  std::vector<std::string> paths;
  for (const auto& entry : std::filesystem::directory_iterator(kRoot / "sweeps")) {
    if (entry.path().extension() == ".yaml") paths.push_back(entry.path());
  }
  std::sort(paths.begin(), paths.end());
  return paths;
}

Expansion MustExpand(const absl::StatusOr<v1::SweepSpec>& spec) {
  EXPECT_TRUE(spec.ok()) << spec.status();
  if (!spec.ok()) return {};
  absl::StatusOr<Expansion> expansion =
      Expand(*spec, {.corpora = std::vector<std::string>{"sotu", "mnist"}});
  EXPECT_TRUE(expansion.ok()) << expansion.status();
  return expansion.ok() ? *std::move(expansion) : Expansion();
}

TEST(ShippedSweepsTest, EachExpandsAndNothingInItIsWithoutEffect) {
  EXPECT_GE(Sweeps().size(), 5u);
  for (const std::string& path : Sweeps()) {
    SCOPED_TRACE(path);
    const Expansion expansion = MustExpand(ReadSweepFile(path));
    EXPECT_GT(expansion.variants.size(), 1u);
    EXPECT_THAT(expansion.notes, IsEmpty());
  }
}

TEST(ShippedSweepsTest, EachOpensWithTheQuestionItAnswers) {
  for (const std::string& path : Sweeps()) {
    SCOPED_TRACE(path);
    const std::string text = Contents(path);
    EXPECT_EQ(text.front(), '#');
    EXPECT_NE(text.substr(0, text.find("version:")).find('?'), std::string::npos);
    EXPECT_FALSE(ReadSweepFile(path)->question().empty());
  }
}

TEST(ShippedSweepsTest, TheRoadmapHasAtLeast250DistinctVariantsAtEveryScale) {
  for (const char* tokens : {"tokens=1000000", "tokens=100000"}) {
    SCOPED_TRACE(tokens);
    const Expansion expansion =
        MustExpand(ReadSweepFile(kRoot / "sweeps/saffu_roadmap.yaml", {.set = {tokens}}));
    EXPECT_GE(expansion.variants.size(), 250u);
    EXPECT_THAT(expansion.notes, IsEmpty());
  }
}

TEST(ShippedSweepsTest, TheSweepOfTheReadmeIsAsItSays) {
  const std::string readme = Contents(kRoot / "README.md");
  int shown = 0;
  for (size_t begin = readme.find("```yaml\n"); begin != std::string::npos;
       begin = readme.find("```yaml\n", begin + 1)) {
    const size_t from = begin + 8;
    const std::string text = readme.substr(from, readme.find("```", from) - from);
    if (text.find("version: 1") == std::string::npos) continue;
    ++shown;
    SCOPED_TRACE(text);
    EXPECT_THAT(MustExpand(ReadSweepText(text, SweepFormat::kYaml, "README.md")).notes, IsEmpty());
  }
  EXPECT_GE(shown, 1);
}

}  // namespace
}  // namespace saffron
