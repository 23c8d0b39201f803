#include "coordinator/report/listing.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/unit/coordinator_report/sample_database.h"

namespace saffron {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

constexpr auto kTrials = ListRequest::What::kTrials;
constexpr auto kVariants = ListRequest::What::kVariants;

class ListingTest : public testing::Test {
 protected:
  ListingTest() {
    sample_.AddRoadmap("tour", "valid/perplexity", "minimize");
    int64_t bits = 16;
    for (const double perplexity : {130.0, 110.0, 120.0}) {
      const int64_t variant = sample_.AddVariant(
          bits == 16 ? "a" : "b", absl::StrCat(R"({"model.bits":)", bits, R"(,"train.init":"x"})"));
      sample_.AddTrial(variant, 1, {{"test/perplexity", perplexity}});
      bits *= 2;
    }
    sample_.AddTrial(3, 2, {{"test/perplexity", 124}});
    sample_.AddTrial(sample_.AddVariant("b", R"({"model.bits":8})"), 1, {}, "failed", "no memory");
  }
  // The first column of the answer, as text.
  std::vector<std::string> First(const ListRequest& request) {
    const auto sql = ListQuery(request);
    EXPECT_TRUE(sql.ok()) << sql.status();
    auto source = OpenLocalSource(sample_.path(), "");
    const auto table = (*source)->Query(*sql);
    EXPECT_TRUE(table.ok()) << *sql << "\n" << table.status();
    std::vector<std::string> first;
    for (const auto& row : table->rows) {
      const int64_t* integer = std::get_if<int64_t>(&row[0]);
      const double* number = std::get_if<double>(&row[0]);
      first.push_back(integer  ? absl::StrCat(*integer)
                      : number ? absl::StrCat(*number)
                               : std::get<std::string>(row[0]));
    }
    return first;
  }
  SampleDatabase sample_;
};

TEST_F(ListingTest, TrialsComeInTheRoadmapsOrder) {
  EXPECT_THAT(First({.roadmaps = {1}, .columns = {"trial"}}), ElementsAre("1", "2", "3", "4", "5"));
}

TEST_F(ListingTest, SortingByAMetricLeavesTrialsWithoutItLast) {
  EXPECT_THAT(First({.roadmaps = {1}, .columns = {"trial"}, .sort = "test/perplexity"}),
              ElementsAre("2", "3", "4", "1", "5"));
  EXPECT_THAT(First({.roadmaps = {1}, .columns = {"trial"}, .sort = "-test/perplexity"}),
              ElementsAre("1", "4", "3", "2", "5"));
}

TEST_F(ListingTest, FiltersKnowParametersMetricsAndStates) {
  const auto filtered = [&](std::vector<std::string> filters) {
    return First({.roadmaps = {1}, .columns = {"trial"}, .filters = std::move(filters)});
  };
  EXPECT_THAT(filtered({"model.bits=32"}), ElementsAre("2"));
  EXPECT_THAT(filtered({"model.bits >= 32"}), ElementsAre("2", "3", "4"));
  EXPECT_THAT(filtered({"test/perplexity<121", "block=b"}), ElementsAre("2", "3"));
  EXPECT_THAT(filtered({"state!=succeeded"}), ElementsAre("5"));
  EXPECT_THAT(filtered({"train.init=x", "seed=2"}), ElementsAre("4"));
}

TEST_F(ListingTest, VariantsShowMeansOverSeeds) {
  EXPECT_THAT(First({.what = kVariants,
                     .roadmaps = {1},
                     .columns = {"test/perplexity", "variant"},
                     .filters = {"variant=3"}}),
              ElementsAre("122"));
  EXPECT_THAT(First({.what = kVariants, .roadmaps = {1}, .columns = {"succeeded"}}),
              ElementsAre("1", "1", "2", "0"));
}

TEST_F(ListingTest, RangesStepAndLimitsCut) {
  EXPECT_THAT(First({.roadmaps = {1}, .columns = {"trial"}, .ids = "1-5:2"}),
              ElementsAre("1", "3", "5"));
  EXPECT_THAT(First({.roadmaps = {1}, .columns = {"trial"}, .limit = 2}), ElementsAre("1", "2"));
}

TEST_F(ListingTest, OtherRoadmapsStayOut) {
  sample_.AddRoadmap("other", "valid/perplexity", "minimize");
  sample_.AddTrial(sample_.AddVariant("z", "{}"), 1, {});
  EXPECT_THAT(First({.roadmaps = {2}, .columns = {"trial"}}), ElementsAre("6"));
  EXPECT_THAT(First({.roadmaps = {1, 2}, .columns = {"trial"}}),
              ElementsAre("6", "1", "2", "3", "4", "5"));
}

TEST(ListQueryTest, AnUnknownColumnNamesTheNearest) {
  for (const ListRequest& request :
       {ListRequest{.what = kTrials, .roadmaps = {1}, .columns = {"model.bit"}},
        ListRequest{.what = kTrials, .roadmaps = {1}, .columns = {"trial"}, .sort = "-model.bit"},
        ListRequest{.what = kVariants,
        .roadmaps = {1},
        .columns = {"variant"},
        .filters = {"model.bit=3"}}}) {
    const auto sql = ListQuery(request);
    EXPECT_TRUE(absl::IsInvalidArgument(sql.status()));
    EXPECT_THAT(std::string(sql.status().message()), HasSubstr("did you mean model.bits?"));
  }
}

TEST(ListQueryTest, AFilterThatIsNoneIsRefused) {
  for (const char* filter : {"model.bits", "=3", ""}) {
    EXPECT_TRUE(absl::IsInvalidArgument(
        ListQuery({.roadmaps = {1}, .columns = {"trial"}, .filters = {filter}}).status()))
        << filter;
  }
}

TEST(ListQueryTest, ValuesCannotBecomeSql) {
  const auto sql =
      ListQuery({.roadmaps = {1}, .columns = {"trial"}, .filters = {"label=x' OR '1'='1"}});
  ASSERT_TRUE(sql.ok());
  EXPECT_THAT(*sql, HasSubstr("'x'' OR ''1''=''1'"));
}

TEST(IdSelectorTest, ReadsRangesWithSteps) {
  const auto selector = IdSelector::Parse("1-10:3,15");
  ASSERT_TRUE(selector.ok());
  std::vector<int> matching;
  for (int id = 0; id < 20; ++id) {
    if (selector->Matches(id)) matching.push_back(id);
  }
  EXPECT_THAT(matching, ElementsAre(1, 4, 7, 10, 15));
  EXPECT_TRUE(IdSelector::Parse("all")->Matches(7));
}

TEST(IdSelectorTest, RefusesWhatIsNoRange) {
  for (const char* text : {"", "x", "3-1", "1-", "-3", "1:2", "1-9:0", "1,,2", "1-2-3"}) {
    EXPECT_FALSE(IdSelector::Parse(text).ok()) << text;
  }
}

}  // namespace
}  // namespace saffron
