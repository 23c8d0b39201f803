#include "coordinator/cli/command.h"

#include <cstdlib>
#include <iostream>
#include <memory>
#include <string>
#include <vector>

#include "coordinator/cli/sweep_input.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace saffron {
namespace {

using testing::HasSubstr;

class CommandTest : public testing::Test {
 protected:
  CommandTest() : app_("test", "saffron") {
    app_.require_subcommand(0, 1);
    CLI::App* look = cli_.AddCommand(app_, "look", "Look at something", "saffron look 7",
                                     [this] { return answer_; });
    look->add_option("THING", thing_);
    cli_.AddDatabase(look);
    cli_.AddOutput(look);
    CLI::App* group =
        cli_.AddCommand(app_, "group", "Has commands", "saffron group inner", nullptr);
    cli_.AddCommand(*group, "inner", "In the group", "",
                    []() -> absl::StatusOr<ExitCode> { return ExitCode::kSomeFailed; });
  }

  int Main(std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), "saffron");
    std::vector<char*> argv;
    for (std::string& argument : arguments) argv.push_back(argument.data());
    testing::internal::CaptureStderr();
    testing::internal::CaptureStdout();
    const int code = cli_.Main(app_, static_cast<int>(argv.size()), argv.data());
    err_ = testing::internal::GetCapturedStderr();
    out_ = testing::internal::GetCapturedStdout();
    return code;
  }

  CLI::App app_;
  Cli cli_;
  absl::StatusOr<ExitCode> answer_ = ExitCode::kDone;
  std::string thing_, out_, err_;
};

TEST_F(CommandTest, ABodyDecidesTheExitCode) {
  EXPECT_EQ(Main({"look"}), 0);
  answer_ = ExitCode::kSomeFailed;
  EXPECT_EQ(Main({"look"}), 3);
  EXPECT_EQ(Main({"group", "inner"}), 3);
}

TEST_F(CommandTest, AnErrorIsPrintedAfterOurNameAndMappedInOnePlace) {
  const std::vector<std::pair<absl::StatusCode, int>> codes = {
      {absl::StatusCode::kInternal, 1},        {absl::StatusCode::kDataLoss, 1},
      {absl::StatusCode::kInvalidArgument, 2}, {absl::StatusCode::kFailedPrecondition, 2},
      {absl::StatusCode::kAlreadyExists, 2},   {absl::StatusCode::kNotFound, 4},
      {absl::StatusCode::kUnavailable, 5},     {absl::StatusCode::kUnauthenticated, 6},
      {absl::StatusCode::kCancelled, 130},     {absl::StatusCode::kDeadlineExceeded, 2}};
  for (const auto& [code, exit_code] : codes) {
    answer_ = absl::Status(code, "because");
    EXPECT_EQ(Main({"look"}), exit_code);
    EXPECT_EQ(err_, "saffron: because\n");
    EXPECT_EQ(out_, "");
  }
}

TEST_F(CommandTest, UnknownCommandsAndOptionsNameTheNearest) {
  EXPECT_EQ(Main({"lok"}), 2);
  EXPECT_THAT(err_, HasSubstr("unknown command 'lok' (did you mean look?)"));
  EXPECT_EQ(Main({"look", "--ouptut", "json"}), 2);
  EXPECT_THAT(err_, HasSubstr("unknown option '--ouptut' (did you mean --output?)"));
  EXPECT_EQ(Main({"group", "iner"}), 2);
  EXPECT_THAT(err_, HasSubstr("did you mean inner?"));
  EXPECT_EQ(Main({"look", "one", "two"}), 2);
  EXPECT_THAT(err_, HasSubstr("two"));
}

TEST_F(CommandTest, WhereToLookNamesTheWholeCommand) {
  EXPECT_EQ(Main({"group", "inner", "--whatever"}), 2);
  EXPECT_THAT(err_, HasSubstr("see 'saffron group inner --help'"));
  EXPECT_EQ(Main({"look", "--output"}), 2);
  EXPECT_THAT(err_, HasSubstr("see 'saffron look --help'"));
}

TEST_F(CommandTest, OutputThatCouldNotBeWrittenIsNoSuccess) {
  std::cout.setstate(std::ios::badbit);
  EXPECT_EQ(Main({"look"}), 1);
  std::cout.clear();
  EXPECT_THAT(err_, HasSubstr("cannot write to standard output"));
}

TEST_F(CommandTest, ADatabaseHasAName) {
  EXPECT_EQ(Main({"look", "--db", ""}), 2);
  EXPECT_THAT(err_, HasSubstr("--db"));
}

TEST_F(CommandTest, HelpGoesToStdoutWithItsExample) {
  EXPECT_EQ(Main({"look", "--help"}), 0);
  EXPECT_THAT(out_, HasSubstr("saffron look 7"));
  EXPECT_EQ(err_, "");
}

TEST_F(CommandTest, NoCommandIsWrongUsage) {
  EXPECT_EQ(Main({}), 2);
  EXPECT_EQ(Main({"group"}), 2);
}

TEST_F(CommandTest, OutputTakesItsFourModesOnly) {
  EXPECT_EQ(Main({"look", "--output", "csv"}), 0);
  EXPECT_EQ(cli_.output, OutputMode::kCsv);
  EXPECT_EQ(Main({"look", "--output", "xml"}), 2);
  EXPECT_THAT(err_, HasSubstr("table, json, csv or quiet"));
}

TEST_F(CommandTest, AFlagWinsOverTheEnvironmentWhateverOtherCommandsTakeIt) {
  setenv("SAFFRON_DB", "from-environment.db", 1);
  setenv("SAFFRON_OUTPUT", "json", 1);
  CLI::App app("test", "saffron");
  Cli cli;
  unsetenv("SAFFRON_DB");
  for (const std::string name : {"one", "two", "three"}) {
    CLI::App* command = cli.AddCommand(
        app, name, "", "", []() -> absl::StatusOr<ExitCode> { return ExitCode::kDone; });
    cli.AddDatabase(command);
    cli.AddOutput(command);
  }
  EXPECT_EQ(cli.database, "from-environment.db");
  std::string arguments[] = {"saffron", "two", "--db", "from-flag.db"};
  char* argv[] = {arguments[0].data(), arguments[1].data(), arguments[2].data(),
                  arguments[3].data()};
  EXPECT_EQ(cli.Main(app, 4, argv), 0);
  EXPECT_EQ(cli.database, "from-flag.db");
  EXPECT_EQ(cli.output, OutputMode::kJson);
  setenv("SAFFRON_OUTPUT", "xml", 1);
  EXPECT_EQ(cli.Main(app, 4, argv), 2);
  unsetenv("SAFFRON_OUTPUT");
}

TEST(ShellWord, QuotesWhatAShellWouldSplitOrExpand) {
  EXPECT_EQ(ShellWord("sweeps/a-b_1.yaml"), "sweeps/a-b_1.yaml");
  EXPECT_EQ(ShellWord("my sweep.yaml"), "'my sweep.yaml'");
  EXPECT_EQ(ShellWord("it's"), "'it'\\''s'");
  EXPECT_EQ(ShellWord("$HOME"), "'$HOME'");
  EXPECT_EQ(ShellWord(""), "''");
}

TEST(SweepInput, SaysItsArgumentsAgain) {
  SweepInput input;
  input.path = "a b.yaml";
  input.set = {"tokens=1000"};
  input.seeds = 3;
  EXPECT_EQ(input.CommandLine(), "'a b.yaml' --set tokens=1000 --seeds 3");
}

}  // namespace
}  // namespace saffron
