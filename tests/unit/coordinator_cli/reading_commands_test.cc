// list, show, diff, query, report and reference, called as the program calls them.

#include <string>
#include <vector>

#include "coordinator/cli/command.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "tests/unit/coordinator_report/sample_database.h"

namespace saffron {
namespace {

using testing::HasSubstr;
using testing::StartsWith;

class ReadingCommandsTest : public testing::Test {
 protected:
  ReadingCommandsTest() {
    sample_.AddRoadmap("first", "test/perplexity", "minimize");
    sample_.AddTrial(sample_.AddVariant("a", R"({"model.bits":16,"model.type":"saffu"})"), 1,
                     {{"test/perplexity", 130}});
    sample_.AddRoadmap("second", "valid/perplexity", "minimize");
    sample_.AddTrial(sample_.AddVariant("a", R"({"model.bits":32,"model.type":"saffu"})"), 1,
                     {{"valid/perplexity", 120}, {"test/perplexity", 121}});
    sample_.AddTrial(sample_.AddVariant("b", R"({"model.bits":64,"model.type":"saffu"})"), 1, {},
                     "failed", "out of paper", "error");
  }

  // Runs `saffron ARGUMENTS --db SAMPLE`.
  int Main(std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), "saffron");
    if (arguments[1] != "reference") {
      arguments.insert(arguments.end(), {"--db", sample_.path()});
    }
    std::vector<char*> argv;
    for (std::string& argument : arguments) argv.push_back(argument.data());
    CLI::App app("test", "saffron");
    Cli cli;
    AddListCommand(app, cli);
    AddShowCommand(app, cli);
    AddDiffCommand(app, cli);
    AddQueryCommand(app, cli);
    AddReportCommand(app, cli);
    AddLogsCommand(app, cli);
    AddReferenceCommand(app, cli);
    testing::internal::CaptureStdout();
    testing::internal::CaptureStderr();
    const int code = cli.Main(app, static_cast<int>(argv.size()), argv.data());
    err_ = testing::internal::GetCapturedStderr();
    out_ = testing::internal::GetCapturedStdout();
    return code;
  }

  SampleDatabase sample_;
  std::string out_, err_;
};

TEST_F(ReadingCommandsTest, ListWithoutARoadmapListsRoadmaps) {
  EXPECT_EQ(Main({"list", "--output", "quiet"}), 0);
  EXPECT_EQ(out_, "first\nsecond\n");
}

TEST_F(ReadingCommandsTest, ListOfARoadmapShowsItsTrialsAndWhatItIsJudgedBy) {
  EXPECT_EQ(Main({"list", "last"}), 0);
  EXPECT_THAT(out_, StartsWith("trial  seed  state"));
  EXPECT_THAT(out_, HasSubstr("valid/perplexity"));
  EXPECT_THAT(out_, HasSubstr("121"));
  EXPECT_THAT(out_, HasSubstr("failed"));
  EXPECT_THAT(out_, testing::Not(HasSubstr("130")));
}

TEST_F(ReadingCommandsTest, ListTakesRangesAndAll) {
  EXPECT_EQ(Main({"list", "1-2", "--columns", "trial", "--output", "quiet"}), 0);
  EXPECT_EQ(out_, "1\n2\n3\n");
  EXPECT_EQ(Main({"list", "all", "--trials", "1-3:2", "--columns", "trial,model.bits", "--output",
                  "csv"}),
            0);
  EXPECT_EQ(out_, "trial,model.bits\n1,16\n3,64\n");
}

TEST_F(ReadingCommandsTest, ListThatMatchesNothingSaysSoWithCodeFour) {
  EXPECT_EQ(Main({"list", "last", "--filter", "model.bits>100"}), 4);
  EXPECT_EQ(out_, "");
  EXPECT_THAT(err_, HasSubstr("no trial matches"));
  EXPECT_EQ(Main({"list", "last", "--filter", "model.bits>100", "--output", "json"}), 4);
  EXPECT_EQ(out_, "[]\n") << "for programs";
  EXPECT_EQ(Main({"list", "third"}), 4);
}

TEST_F(ReadingCommandsTest, AColumnThatIsNoneIsWrongUsage) {
  EXPECT_EQ(Main({"list", "last", "--sort", "model.bit"}), 2);
  EXPECT_THAT(err_, HasSubstr("did you mean model.bits?"));
}

TEST_F(ReadingCommandsTest, ListJsonIsAnArrayOfObjects) {
  EXPECT_EQ(Main({"list", "second", "--filter", "state=succeeded", "--output", "json"}), 0);
  const auto json = nlohmann::json::parse(out_);
  ASSERT_EQ(json.size(), 1);
  EXPECT_EQ(json[0]["test/perplexity"], 121);
}

TEST_F(ReadingCommandsTest, ShowKnowsATrialAndNotAnother) {
  EXPECT_EQ(Main({"show", "3"}), 0);
  EXPECT_THAT(out_, HasSubstr("out of paper"));
  EXPECT_EQ(Main({"show", "99"}), 4);
  EXPECT_THAT(err_, HasSubstr("no trial 99; the last is 3"));
}

TEST_F(ReadingCommandsTest, DiffNamesItsColumnsAsGiven) {
  EXPECT_EQ(Main({"diff", "1", "2", "--output", "csv"}), 0);
  EXPECT_THAT(out_, StartsWith("key,1,2,difference\nmodel.bits,16,32,\n"));
  EXPECT_THAT(out_, HasSubstr("test/perplexity,130,121,-9\n"));
}

TEST_F(ReadingCommandsTest, QueryReadsAndCannotWrite) {
  EXPECT_EQ(Main({"query", "SELECT count(*) AS n FROM v_trials", "--output", "csv"}), 0);
  EXPECT_EQ(out_, "n\n3\n");
  EXPECT_EQ(Main({"query", "DELETE FROM trials"}), 2);
  EXPECT_EQ(Main({"query", "SELECT"}), 2);
  EXPECT_EQ(Main({"query", "SELECT 1", "--time-limit", "soon"}), 2);
}

TEST_F(ReadingCommandsTest, ReportTellsOfTheRoadmapAskedFor) {
  EXPECT_EQ(Main({"report", "first"}), 0);
  EXPECT_THAT(out_, HasSubstr("first, revision 1: 1 variant, 1 trial"));
  EXPECT_EQ(Main({"report"}), 0);
  EXPECT_THAT(out_, HasSubstr("second, revision 1"));
}

TEST_F(ReadingCommandsTest, QueryKeepsColumnsOfOneNameApart) {
  EXPECT_EQ(Main({"query", "SELECT 1 AS x, 2 AS x", "--output", "json"}), 0);
  EXPECT_EQ(out_, "[\n {\"x\":1,\"x:1\":2}\n]\n");
}

TEST_F(ReadingCommandsTest, ReportIsThereForPrograms) {
  EXPECT_EQ(Main({"report", "--output", "json"}), 0);
  EXPECT_EQ(nlohmann::json::parse(out_)["leaderboard"][0]["metrics"]["valid/perplexity"]["mean"],
            120);
  EXPECT_EQ(Main({"report", "--output", "csv"}), 0);
  EXPECT_THAT(out_, HasSubstr("\n2,1,2,a,label 2,120,"));
  EXPECT_EQ(Main({"report", "--output", "quiet"}), 0);
  EXPECT_EQ(out_, "2\n");
}

TEST_F(ReadingCommandsTest, LogsAreThereForPrograms) {
  sample_.Run(
      "INSERT INTO metrics (trial, key, step, value, kind) VALUES (2, 'train/loss', 10, 5.5, 0), "
      "(2, 'valid/loss', 10, 6.5, 0), (2, 'train/loss', 20, NULL, 1)");
  EXPECT_EQ(Main({"logs", "2", "--output", "json"}), 0) << err_;
  const auto json = nlohmann::json::parse(out_);
  EXPECT_EQ(json["state"], "succeeded");
  EXPECT_EQ(json["curve"].dump(),
            R"([{"step":10,"train/loss":5.5,"valid/loss":6.5},{"step":20,"train/loss":"nan"}])");
  EXPECT_EQ(json["results"]["test/perplexity"], 121);
  EXPECT_EQ(Main({"logs", "2", "--output", "csv"}), 0);
  EXPECT_EQ(out_,
            "step,metric,value\n10,train/loss,5.5\n10,valid/loss,6.5\n20,train/loss,nan\n"
            ",test/perplexity,121\n,valid/perplexity,120\n");
  EXPECT_EQ(Main({"logs", "2", "--output", "quiet"}), 0);
  EXPECT_EQ(out_, "succeeded\n");
  EXPECT_EQ(Main({"logs", "99", "--output", "json"}), 4);
}

TEST_F(ReadingCommandsTest, WithoutADatabaseNothingIsFoundAndNothingMade) {
  const std::string missing = testing::TempDir() + "saffron_no_such.db";
  EXPECT_EQ(Main({"list", "--db", missing}), 2) << "given twice";
  setenv("SAFFRON_DB", missing.c_str(), 1);
  CLI::App app("test", "saffron");
  Cli cli;
  AddListCommand(app, cli);
  std::vector<std::string> arguments = {"saffron", "list"};
  std::vector<char*> argv = {arguments[0].data(), arguments[1].data()};
  testing::internal::CaptureStderr();
  EXPECT_EQ(cli.Main(app, 2, argv.data()), 4);
  EXPECT_THAT(testing::internal::GetCapturedStderr(), HasSubstr("no such results database"));
  unsetenv("SAFFRON_DB");
  EXPECT_NE(access(missing.c_str(), F_OK), 0);
}

TEST_F(ReadingCommandsTest, ReferenceIsMarkdown) {
  EXPECT_EQ(Main({"reference"}), 0);
  EXPECT_THAT(out_, StartsWith("### Keys of a sweep file\n"));
}

}  // namespace
}  // namespace saffron
