#include "coordinator/report/card.h"

#include <sstream>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "tests/unit/coordinator_report/sample_database.h"

namespace saffron {
namespace {

using testing::HasSubstr;

class CardTest : public testing::Test {
 protected:
  void SetUp() override {
    sample_.AddRoadmap("tour", "valid/perplexity", "minimize");
    sample_.AddVariant("a", R"({"model.bits":16,"model.type":"saffu","train.lr":0.01})");
    sample_.AddVariant("b", R"({"model.bits":32,"model.type":"saffu"})");
    sample_.AddTrial(1, 1, {{"test/perplexity", 130}});
    sample_.AddTrial(2, 1, {{"test/perplexity", 120}, {"time/total_s", 2}});
    sample_.AddTrial(2, 2, {{"test/perplexity", 124}}, "diverged", "loss is not finite");
    sample_.Run("UPDATE variants SET digest = 'abcd' || substr(digest, 5) WHERE id = 1");
    sample_.Run("UPDATE variants SET digest = 'abce' || substr(digest, 5) WHERE id = 2");
    auto opened = OpenLocalSource(sample_.path(), "");
    ASSERT_TRUE(opened.ok()) << opened.status();
    source_ = *std::move(opened);
  }
  Thing Find(const std::string& given) {
    const auto thing = FindThing(*source_, given);
    EXPECT_TRUE(thing.ok()) << given << ": " << thing.status();
    return thing.value_or(Thing{});
  }
  std::string Shown(const std::string& given, OutputMode mode = OutputMode::kTable) {
    const auto card = MakeCard(*source_, Find(given));
    EXPECT_TRUE(card.ok()) << card.status();
    std::ostringstream out;
    PrintCard(*card, {.mode = mode}, out);
    return out.str();
  }
  SampleDatabase sample_;
  std::unique_ptr<ReadSource> source_;
};

TEST_F(CardTest, ThingsAreFoundByNameNumberAndDigest) {
  EXPECT_EQ(Find("tour").kind, Thing::Kind::kRoadmap);
  EXPECT_EQ(Find("last").kind, Thing::Kind::kRoadmap);
  EXPECT_EQ(Find("roadmap/1").kind, Thing::Kind::kRoadmap);
  EXPECT_EQ(Find("2").kind, Thing::Kind::kTrial);
  EXPECT_EQ(Find("trial/2").id, 2);
  EXPECT_EQ(Find("variant/2").kind, Thing::Kind::kVariant);
  EXPECT_EQ(Find("abce").id, 2);
  EXPECT_EQ(Find("variant/abcd").id, 1);
}

TEST_F(CardTest, WhatIsNotThereIsNotFound) {
  for (const char* given : {"99", "trial/99", "variant/99", "ffff", "no-such-roadmap"}) {
    EXPECT_TRUE(absl::IsNotFound(FindThing(*source_, given).status())) << given;
  }
  EXPECT_TRUE(absl::IsInvalidArgument(FindThing(*source_, "planet/1").status()));
}

TEST_F(CardTest, AnAmbiguousDigestAsksForMoreOfIt) {
  sample_.Run("UPDATE variants SET digest = 'abcdef' || substr(digest, 7)");
  EXPECT_TRUE(absl::IsInvalidArgument(FindThing(*source_, "abcd").status()));
}

TEST_F(CardTest, ATrialShowsItsParametersAndMetrics) {
  const std::string shown = Shown("1");
  EXPECT_THAT(shown, testing::ContainsRegex("model.bits +16\n"));
  EXPECT_THAT(shown, testing::ContainsRegex("test/perplexity +130\n"));
  EXPECT_THAT(shown, testing::ContainsRegex("roadmaps +tour\n"));
}

TEST_F(CardTest, AVariantShowsMeansOfWhatSucceeded) {
  const std::string shown = Shown("variant/2");
  EXPECT_THAT(shown, testing::ContainsRegex("test/perplexity +120\n"));
  EXPECT_THAT(shown, testing::ContainsRegex("trial 3 +diverged, seed 2\n"));
}

TEST_F(CardTest, ARoadmapShowsItsBlocksAndStates) {
  const std::string shown = Shown("last");
  EXPECT_THAT(shown, testing::ContainsRegex("trials +3\n"));
  EXPECT_THAT(shown, testing::ContainsRegex("diverged +1\n"));
  EXPECT_THAT(shown, HasSubstr("variants by block"));
}

TEST_F(CardTest, JsonNestsSections) {
  const auto json = nlohmann::json::parse(Shown("1", OutputMode::kJson));
  EXPECT_EQ(json["trial"], 1);
  EXPECT_EQ(json["parameters"]["model.bits"], 16);
  EXPECT_EQ(json["metrics"]["test/perplexity"], 130);
}

TEST_F(CardTest, QuietIsTheIdentifierAlone) { EXPECT_EQ(Shown("2", OutputMode::kQuiet), "2\n"); }

TEST_F(CardTest, DiffNamesWhatDiffersAndEveryMetric) {
  const auto table = Diff(*source_, Find("1"), Find("2"));
  ASSERT_TRUE(table.ok()) << table.status();
  const std::vector<std::vector<Cell>> expected = {
      {std::string("model.bits"), int64_t{16}, int64_t{32}, {}},
      {std::string("train.lr"), 0.01, {}, {}},
      {std::string("test/perplexity"), 130.0, 120.0, -10.0},
      {std::string("time/total_s"), {}, 2.0, {}}};
  EXPECT_EQ(table->rows, expected);
}

TEST_F(CardTest, DiffOfTwoSeedsNamesTheSeed) {
  const auto table = Diff(*source_, Find("2"), Find("3"));
  ASSERT_TRUE(table.ok()) << table.status();
  EXPECT_EQ(table->rows.at(0),
            (std::vector<Cell>{std::string("seed"), int64_t{1}, int64_t{2}, {}}));
}

TEST_F(CardTest, ARoadmapHasNoDiff) {
  EXPECT_TRUE(absl::IsInvalidArgument(Diff(*source_, Find("last"), Find("1")).status()));
}

}  // namespace
}  // namespace saffron
