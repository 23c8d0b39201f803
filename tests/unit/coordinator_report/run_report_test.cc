#include "coordinator/report/run_report.h"

#include <cmath>
#include <memory>
#include <sstream>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "coordinator/report/study.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "tests/unit/coordinator_report/sample_database.h"

namespace saffron {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

std::string Saffu(int64_t bits, const std::string& init, int64_t steps, int64_t vocab = 4096) {
  std::string json = absl::StrCat(R"({"data.corpus":"sotu","data.vocab":)", vocab,
                                  R"(,"model.bits":)", bits, R"(,"model.type":"saffu",)",
                                  R"("train.init":")", init, R"(","train.steps":)", steps);
  if (steps > 0) json += R"(,"train.lr":0.01)";
  return json + "}";
}

std::map<std::string, double> Values(double perplexity, double parameters) {
  return {{"valid/perplexity", perplexity},
          {"test/perplexity", perplexity + 1},
          {"model/parameters", parameters},
          {"time/total_s", perplexity / 100}};
}

class RunReportTest : public testing::Test {
 protected:
  std::string Report(const std::string& roadmap = "last", const RunReportOptions& options = {}) {
    auto source = OpenLocalSource(sample_.path(), "--db a.db");
    EXPECT_TRUE(source.ok()) << source.status();
    std::ostringstream out;
    const absl::Status status = PrintRunReport(**source, roadmap, options, out);
    EXPECT_TRUE(status.ok()) << status;
    return out.str();
  }
  void Add(const std::string& block, const std::string& json,
           const std::map<std::string, double>& values) {
    sample_.AddTrial(sample_.AddVariant(block, json), 1, values);
  }
  // Six sizes, the best in the middle; a random start for two of them; a reference.
  void AddSmallRoadmap(const std::string& metric = "valid/perplexity",
                       const std::string& name = "tour") {
    sample_.AddRoadmap(name, metric, "minimize");
    int64_t bits = 8;
    for (const double perplexity : {160, 140, 120, 110, 115, 118}) {
      Add("size", Saffu(bits, "explicit", 0), Values(perplexity, 1000.0 * bits));
      bits *= 2;
    }
    Add("start", Saffu(64, "explicit", 300), Values(105, 64000));
    Add("start", Saffu(64, "random", 300), Values(112, 64000));
    Add("references",
        R"({"data.corpus":"sotu","data.vocab":4096,"model.order":2,)"
        R"("model.type":"kneser_ney"})",
        Values(150, 300000));
  }
  SampleDatabase sample_;
};

TEST_F(RunReportTest, TheLeaderIsChosenOnValidationAndTestIsShown) {
  AddSmallRoadmap();
  const std::string report = Report();
  EXPECT_THAT(report, HasSubstr("tour, revision 1: 9 variants, 9 trials: 9 succeeded"));
  EXPECT_THAT(report, testing::ContainsRegex("1    105   106 +64k +1.05 s +7  bits=64 "));
  EXPECT_THAT(report, HasSubstr("test/perplexity took no part in the choice"));
}

TEST_F(RunReportTest, WhereEveryTypeHasOneModelTheFirstNeedsNoName) {
  sample_.AddRoadmap("kinds", "valid/perplexity", "minimize");
  Add("baseline", Saffu(8, "explicit", 0), Values(120, 1000));
  Add("kinds", R"({"data.corpus":"sotu","data.vocab":4096,"model.type":"kneser_ney"})",
      Values(150, 300000));
  EXPECT_THAT(Report(), AllOf(HasSubstr("type=kneser_ney"), Not(HasSubstr("type=saffu"))));
}

TEST_F(RunReportTest, ATestMetricIsOwnedUpTo) {
  AddSmallRoadmap("test/perplexity");
  EXPECT_THAT(Report(), HasSubstr("looks better than it is"));
}

TEST_F(RunReportTest, AnotherTypeIsNamedWithWhatIsNotItsDefault) {
  AddSmallRoadmap();
  EXPECT_THAT(Report(), HasSubstr("type=kneser_ney order=2\n"));
}

TEST_F(RunReportTest, SaysThatTheBestIsNotTheBiggest) {
  AddSmallRoadmap();
  const std::string report = Report();
  EXPECT_THAT(report, HasSubstr("No. Of 8 saffu models"));
  EXPECT_THAT(report, AllOf(HasSubstr("(106)"), HasSubstr("2 models are"), HasSubstr("256k")));
}

TEST_F(RunReportTest, PairsStartsAndNamesTheStepsThatCatchUp) {
  AddSmallRoadmap();
  const std::string report = Report();
  EXPECT_THAT(report, testing::ContainsRegex("same steps and learning rate +1 +1 +0 +0.9381"));
  EXPECT_THAT(report, HasSubstr("none of 1, up to 300 steps (best 113)"));
}

TEST_F(RunReportTest, BudgetsAreToldApartBySizeAndSteps) {
  AddSmallRoadmap();
  const auto add = [&](int64_t tokens, int64_t steps) {
    for (const char* init : {"explicit", "random"}) {
      std::string json = Saffu(64, init, steps);
      json.insert(1, absl::StrCat(R"("data.tokens":)", tokens, ","));
      Add("budget", json, Values(init[0] == 'e' ? 105 : 104, 64000));
    }
  };
  add(1000, 30);
  add(1000, 90);
  add(100000, 90);
  const std::string report = Report();
  EXPECT_THAT(report, testing::ContainsRegex("\n +30 steps on 1k +1 +0 +1 "));
  EXPECT_THAT(report, testing::ContainsRegex("\n +90 steps on 1k +1 +0 +1 "));
  EXPECT_THAT(report, testing::ContainsRegex("\n +90 steps on 100k +1 +0 +1 "));
}

TEST_F(RunReportTest, ValuesOverAnotherVocabularyAreNotRankedWithTheOthers) {
  AddSmallRoadmap();
  Add("vocabulary", Saffu(64, "explicit", 0, 1024), Values(20, 1000));
  const std::string report = Report();
  EXPECT_THAT(report, testing::ContainsRegex("\n  1    105 "));
  EXPECT_THAT(report, HasSubstr("1 more variant was measured over other data"));
  EXPECT_THAT(report, testing::ContainsRegex("vocabulary +1 +21\n"));
}

TEST_F(RunReportTest, SeveralSeedsShowTheirSpread) {
  sample_.AddRoadmap("seeds", "valid/perplexity", "minimize");
  const int64_t variant = sample_.AddVariant("", Saffu(64, "random", 300));
  sample_.AddTrial(variant, 1, Values(100, 1000));
  sample_.AddTrial(variant, 2, Values(102, 1000));
  EXPECT_THAT(Report(), AllOf(HasSubstr("101 ± 1.414"), HasSubstr("±: standard deviation")));
  AddSmallRoadmap();
  EXPECT_THAT(Report(), Not(HasSubstr("±")));
}

TEST_F(RunReportTest, DivergedTrialsAreNoResult) {
  AddSmallRoadmap();
  sample_.AddTrial(sample_.AddVariant("size", Saffu(512, "explicit", 0)), 1, Values(1, 1),
                   "diverged", "loss is not finite at step 3");
  const std::string report = Report();
  EXPECT_THAT(report, testing::ContainsRegex("\n  1    105 "));
  EXPECT_THAT(report, AllOf(HasSubstr("Without a result"), HasSubstr("loss is not finite"),
                            HasSubstr("9 succeeded, 1 diverged"),
                            HasSubstr("1 trial: diverged, and in no mean")));
}

TEST_F(RunReportTest, ABlockListsVariantsThatAnotherNamedFirst) {
  AddSmallRoadmap();
  sample_.AlsoInBlock("favourites", 4);
  EXPECT_THAT(Report(), testing::ContainsRegex("favourites +1 +111\n"));
}

// A baseline, an ablation of two groups, one of them alone, and a model grown from the baseline;
// two seeds of each.
class AblationReportTest : public RunReportTest {
 protected:
  AblationReportTest() {
    sample_.AddRoadmap("ablations", "valid/perplexity", "minimize");
    const auto add = [&](const std::string& block, const std::string& json, const char* role,
                         double perplexity) {
      const int64_t variant = sample_.AddVariant(block, json, role);
      sample_.AddTrial(variant, 1, Values(perplexity, 1000));
      sample_.AddTrial(variant, 2, Values(perplexity + 2, 1000));
      return variant;
    };
    add("baseline", Saffu(64, "explicit", 0), "baseline", 100);
    const int64_t both = add("parts", Saffu(32, "random", 300), "grid", 110);
    const int64_t one = add("parts", Saffu(32, "explicit", 0), "grid", 104);
    sample_.AlsoInBlock("without", both, "small+untold");
    sample_.AlsoInBlock("without", one, "small");
    grown_ = add("grown", Saffu(128, "explicit", 300), "grid", 95);
    sample_.Run(absl::StrCat("UPDATE variants SET parent = 1, init_checkpoint = 'last', ",
                             R"(init_derive = '["hidden:128","mlp:x2"]' WHERE id = )", grown_));
  }
  int64_t grown_ = 0;
};

TEST_F(AblationReportTest, EveryGroupHasARowWithWhatItIsWorth) {
  const std::string report = Report();
  EXPECT_THAT(report, HasSubstr("What each change is worth"));
  // Both seeds differ by 10 (or 4) from the baseline's: no spread, so the interval is that alone.
  EXPECT_THAT(report, testing::ContainsRegex(
                          "small.untold +112 ± 1.414 +.9.8 % +.10 to .10 +bits=32 init=random"));
  EXPECT_THAT(report, testing::ContainsRegex("small +106 ± 1.414 +.3.9 % +.4 to .4 +bits=32\n"));
}

TEST_F(AblationReportTest, ABlockSaysWhatItChangesThroughout) {
  EXPECT_THAT(Report(), testing::ContainsRegex("parts +2 +106 ± 1.414 +.3.9 % +bits=32 init="));
}

TEST_F(AblationReportTest, AGrownModelSaysFromWhat) {
  EXPECT_THAT(Report(), HasSubstr("grown from label 1 by hidden:128, mlp:x2"));
  sample_.Run("UPDATE variants SET init_derive = '[]' WHERE parent = 1");
  EXPECT_THAT(Report(), HasSubstr("starts from label 1"));
}

TEST_F(AblationReportTest, JsonHoldsWhatTheTablesHold) {
  const auto json = nlohmann::json::parse(Report("last", {.mode = OutputMode::kJson}));
  EXPECT_EQ(json["roadmap"], "ablations");
  EXPECT_EQ(json["trials"]["succeeded"], 8);
  ASSERT_EQ(json["leaderboard"].size(), 4);
  const auto& best = json["leaderboard"][0];
  EXPECT_EQ(best["rank"], 1);
  EXPECT_EQ(best["variant"], grown_);
  EXPECT_EQ(best["metrics"]["test/perplexity"]["mean"], 97);
  EXPECT_NEAR(best["metrics"]["test/perplexity"]["sd"].get<double>(), std::sqrt(2.0), 1e-12);
  EXPECT_EQ(best["metrics"]["test/perplexity"]["n"], 2);
  EXPECT_EQ(best["config"]["model.bits"], 128);
  EXPECT_EQ(best["starts_from"], "grown from label 1 by hidden:128, mlp:x2");
  ASSERT_EQ(json["blocks"].size(), 4);
  EXPECT_EQ(json["blocks"][1]["best"]["effect"]["difference"], 4);
  EXPECT_EQ(json["blocks"][1]["best"]["effect"]["low_95"], 4);
  ASSERT_EQ(json["ablations"].size(), 2);
  EXPECT_EQ(json["ablations"][0]["groups"], "small+untold");
  EXPECT_EQ(json["ablations"][0]["effect"]["difference"], 10);
  EXPECT_EQ(json["ablations"][0]["effect"]["n"], 2);
}

TEST_F(AblationReportTest, CsvIsTheLeaderboard) {
  EXPECT_THAT(Report("last", {.mode = OutputMode::kCsv}),
              AllOf(testing::StartsWith("trial,rank,variant,block,label,valid/perplexity,"
                                        "valid/perplexity sd,valid/perplexity n,test/perplexity,"),
                    HasSubstr("\n1,2,1,baseline,label 1,101,")));
}

TEST_F(AblationReportTest, OnlyATerminalsWidthCuts) {
  EXPECT_THAT(Report("last", {.width = 60}), HasSubstr("…"));
  EXPECT_THAT(Report("last", {.width = 60, .cut = false}), Not(HasSubstr("…")));
}

TEST_F(RunReportTest, JsonOfARoadmapWithoutResultsIsWholeToo) {
  sample_.AddRoadmap("new", "valid/perplexity", "minimize");
  sample_.AddTrial(sample_.AddVariant("", Saffu(64, "random", 300)), 1, {}, "queued");
  const auto json = nlohmann::json::parse(Report("last", {.mode = OutputMode::kJson}));
  EXPECT_TRUE(json["leaderboard"].empty());
  EXPECT_TRUE(json["size"].is_null());
  EXPECT_EQ(json["trials"]["queued"], 1);
}

TEST_F(RunReportTest, TheQueriesItNamesWorkAsPrinted) {
  for (const char* metric : {"valid/perplexity", "test/perplexity", ""}) {
    AddSmallRoadmap(metric, absl::StrCat("tour", metric));
    const std::string report = Report();
    int queries = 0;
    for (const auto line : absl::StrSplit(report, '\n')) {
      const size_t begin = line.find("saffron query --db a.db \"");
      if (begin == std::string::npos) continue;
      ++queries;
      const std::string sql(line.substr(begin + 25, line.size() - begin - 26));
      auto source = OpenLocalSource(sample_.path(), "");
      const auto rows = (*source)->Query(sql);
      ASSERT_TRUE(rows.ok()) << sql << "\n" << rows.status();
      // A learning curve may be empty here: the sample has none.
      EXPECT_TRUE(!rows->rows.empty() || sql.find("v_curves") != std::string::npos) << sql;
    }
    EXPECT_EQ(queries, *metric ? 3 : 1);
  }
}

TEST_F(RunReportTest, ARoadmapWithNothingDoneYetStillReports) {
  sample_.AddRoadmap("new", "valid/perplexity", "minimize");
  sample_.AddTrial(sample_.AddVariant("", Saffu(64, "random", 300)), 1, {}, "queued");
  EXPECT_THAT(Report(), AllOf(HasSubstr("1 queued"), Not(HasSubstr("Leaderboard"))));
}

TEST_F(RunReportTest, ARoadmapWithoutAMetricStillReports) {
  sample_.AddRoadmap("noop", "", "minimize");
  sample_.AddTrial(sample_.AddVariant("", R"({"model.type":"noop"})"), 1, {{"time/total_s", 1}});
  EXPECT_THAT(Report(), AllOf(HasSubstr("1 succeeded"), Not(HasSubstr("Leaderboard"))));
}

TEST_F(RunReportTest, TextStaysWithinTheTerminal) {
  AddSmallRoadmap();
  for (const absl::string_view line : absl::StrSplit(Report("tour", {.width = 72}), '\n')) {
    if (line.find("saffron query") != line.npos || line.find("Results:") != line.npos) continue;
    EXPECT_LE(line.size(), 72 * 3) << line;  // bytes; the plot's characters have three
  }
}

TEST_F(RunReportTest, RoadmapsAreFoundByNameIdOrLast) {
  sample_.AddRoadmap("first", "valid/perplexity", "minimize");
  sample_.AddRoadmap("second", "valid/perplexity", "minimize");
  auto source = OpenLocalSource(sample_.path(), "");
  EXPECT_EQ(FindRoadmap(**source, "last")->name, "second");
  EXPECT_EQ(FindRoadmap(**source, "1")->name, "first");
  EXPECT_EQ(FindRoadmap(**source, "first")->id, 1);
  const auto missing = FindRoadmap(**source, "secnd");
  EXPECT_TRUE(absl::IsNotFound(missing.status()));
  EXPECT_THAT(std::string(missing.status().message()), HasSubstr("did you mean second?"));
}

TEST_F(RunReportTest, AnEmptyDatabaseSaysThatNothingWasSubmitted) {
  auto source = OpenLocalSource(sample_.path(), "");
  std::ostringstream out;
  EXPECT_TRUE(absl::IsNotFound(PrintRunReport(**source, "last", {}, out)));
}

}  // namespace
}  // namespace saffron
