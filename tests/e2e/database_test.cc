// Databases that cannot be used, and command lines that cannot be meant.

#include <sqlite3.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/e2e/scene.h"

namespace saffron {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::StartsWith;

class DatabaseTest : public testing::Test {
 protected:
  Ended Run() { return scene_.Run({"run", scene_.Write("sweep.yaml", NoopSweep(2))}); }
  Scene scene_;
};

TEST_F(DatabaseTest, AFileThatIsNotADatabaseIsRefusedAndLeftAsItWas) {
  scene_.Write("results.db", "these are not the bytes you are looking for\n");
  const Ended ended = Run();
  EXPECT_EQ(ended.exit_code, 2);
  EXPECT_THAT(ended.err, AllOf(StartsWith("saffron: "), HasSubstr("results.db")));
  EXPECT_EQ(scene_.Read("results.db"), "these are not the bytes you are looking for\n");
  EXPECT_EQ(scene_.Run({"status"}).exit_code, 2);
}

TEST_F(DatabaseTest, AnotherProgramsDatabaseIsRefused) {
  sqlite3* db = nullptr;
  ASSERT_EQ(sqlite3_open(scene_.Path("results.db").c_str(), &db), SQLITE_OK);
  ASSERT_EQ(sqlite3_exec(db, "CREATE TABLE bookmarks (url TEXT)", nullptr, nullptr, nullptr),
            SQLITE_OK);
  sqlite3_close(db);
  EXPECT_EQ(Run().exit_code, 2);
}

TEST_F(DatabaseTest, ANewerSchemaIsRefusedNamingBothVersions) {
  ASSERT_EQ(Run().exit_code, 0);
  sqlite3* db = nullptr;
  ASSERT_EQ(sqlite3_open(scene_.Path("results.db").c_str(), &db), SQLITE_OK);
  ASSERT_EQ(sqlite3_exec(db,
                         "INSERT INTO schema_version SELECT 99, applied_us, program FROM "
                         "schema_version LIMIT 1",
                         nullptr, nullptr, nullptr),
            SQLITE_OK);
  sqlite3_close(db);
  for (const std::vector<std::string>& command :
       std::vector<std::vector<std::string>>{{"run", scene_.Path("sweep.yaml")}, {"status"}}) {
    const Ended ended = scene_.Run(command);
    EXPECT_EQ(ended.exit_code, 2) << command[0];
    EXPECT_THAT(ended.err, HasSubstr("99")) << command[0];
  }
}

TEST_F(DatabaseTest, ADatabaseThatMayNotBeWrittenIsRefusedButCanBeRead) {
  ASSERT_EQ(Run().exit_code, 0);
  ASSERT_EQ(chmod(scene_.Path("results.db").c_str(), 0444), 0);
  if (geteuid() == 0) {  // who may write anything
    ASSERT_EQ(chmod(scene_.Path("").c_str(), 0755), 0);
    scene_.as_nobody = true;
    if (scene_.Run({"--version"}).exit_code != 0)
      GTEST_SKIP() << "no other user can run the program";
  }
  scene_.Write("sweep.yaml", NoopSweep(3));
  const Ended ended = scene_.Run({"run", scene_.Path("sweep.yaml")});
  EXPECT_EQ(ended.exit_code, 2);
  EXPECT_THAT(ended.err, HasSubstr("results.db"));
  EXPECT_THAT(scene_.Run({"status"}).out, HasSubstr("2/2"));
}

TEST_F(DatabaseTest, AFolderThatDoesNotExistIsSaid) {
  scene_.environment["SAFFRON_DB"] = scene_.Path("no/such/folder/results.db");
  const Ended ended = Run();
  EXPECT_EQ(ended.exit_code, 2);
  EXPECT_THAT(ended.err, HasSubstr("no/such/folder"));
}

TEST_F(DatabaseTest, ADirectoryIsNotADatabase) {
  std::filesystem::create_directory(scene_.Path("results.db"));
  EXPECT_EQ(Run().exit_code, 2);
}

TEST_F(DatabaseTest, WhatCannotBeADatabaseIsTheUsersMistakeToEveryCommand) {
  ASSERT_EQ(Run().exit_code, 0);
  std::filesystem::create_directory(scene_.Path("folder"));
  scene_.Write("text.db", "not a database\n");
  std::filesystem::copy_file(scene_.Path("results.db"), scene_.Path("short.db"));
  std::filesystem::resize_file(scene_.Path("short.db"), 5000);
  const std::string sweep = scene_.Path("sweep.yaml");
  const std::vector<std::vector<std::string>> commands = {{"run", sweep},
                                                          {"plan", sweep},
                                                          {"submit", sweep},
                                                          {"status"},
                                                          {"report"},
                                                          {"check"},
                                                          {"cancel", "all"},
                                                          {"query", "SELECT 1"},
                                                          {"backup", scene_.Path("copy.db")},
                                                          {"wait", "last"},
                                                          {"model", "show", "1"}};
  for (const char* name : {"folder", "no/such.db", "text.db", "text.db/x.db", "short.db"}) {
    for (std::vector<std::string> command : commands) {
      const std::string what = command[0] + " --db " + name;
      command.insert(command.end(), {"--db", scene_.Path(name)});
      const Ended ended = scene_.Run(command);
      EXPECT_EQ(ended.exit_code, 2) << what << ": " << ended.err;
      EXPECT_THAT(ended.err, HasSubstr(name)) << what;
    }
  }
}

TEST_F(DatabaseTest, ADatabaseThatMayNotBeReadIsTheUsersMistake) {
  ASSERT_EQ(Run().exit_code, 0);
  std::filesystem::create_directory(scene_.Path("locked"));
  std::filesystem::copy_file(scene_.Path("results.db"), scene_.Path("locked/results.db"));
  if (geteuid() == 0) {  // who may read anything
    ASSERT_EQ(chmod(scene_.Path("").c_str(), 0755), 0);
    scene_.as_nobody = true;
    if (scene_.Run({"--version"}).exit_code != 0)
      GTEST_SKIP() << "no other user can run the program";
  }
  ASSERT_EQ(chmod(scene_.Path("results.db").c_str(), 0), 0);
  ASSERT_EQ(chmod(scene_.Path("locked").c_str(), 0), 0);
  for (const char* name : {"results.db", "locked/results.db"}) {
    for (std::vector<std::string> command :
         std::vector<std::vector<std::string>>{{"status"}, {"plan", scene_.Path("sweep.yaml")}}) {
      command.insert(command.end(), {"--db", scene_.Path(name)});
      const Ended ended = scene_.Run(command);
      EXPECT_EQ(ended.exit_code, 2) << ended.err;
      EXPECT_THAT(ended.err, AllOf(HasSubstr(name), HasSubstr("Permission denied")));
    }
  }
  ASSERT_EQ(chmod(scene_.Path("locked").c_str(), 0555), 0);
  const Ended ended = scene_.Run({"status", "--db", scene_.Path("locked/results.db")});
  EXPECT_EQ(ended.exit_code, 2) << ended.err;
  EXPECT_THAT(ended.err, AllOf(HasSubstr("locked/results.db"), HasSubstr("copy the database")));
  ASSERT_EQ(chmod(scene_.Path("locked").c_str(), 0755), 0);
}

TEST_F(DatabaseTest, ADatabaseWithoutANameIsRefused) {
  const Ended ended = scene_.Run({"run", scene_.Write("sweep.yaml", NoopSweep(1)), "--db", ""});
  EXPECT_EQ(ended.exit_code, 2) << ended.err;
  EXPECT_THAT(ended.err, HasSubstr("--db"));
}

TEST_F(DatabaseTest, NoDatabaseToReadIsNothingMatched) {
  const Ended ended = scene_.Run({"status"});
  EXPECT_EQ(ended.exit_code, 4);
  EXPECT_THAT(ended.err, HasSubstr("results.db"));
  EXPECT_FALSE(std::filesystem::exists(scene_.Path("results.db"))) << "reading makes nothing";
}

class UsageTest : public testing::Test {
 protected:
  Scene scene_;
};

TEST_F(UsageTest, TyposAreAnsweredWithTheNearestName) {
  const Ended command = scene_.Run({"stauts"});
  EXPECT_EQ(command.exit_code, 2);
  EXPECT_THAT(command.err, HasSubstr("did you mean status?"));
  const Ended option = scene_.Run({"run", "x.yaml", "--wrokers", "2"});
  EXPECT_EQ(option.exit_code, 2);
  EXPECT_THAT(option.err, HasSubstr("did you mean --workers?"));
  const Ended output = scene_.Run({"status", "--output", "xml"});
  EXPECT_EQ(output.exit_code, 2);
  EXPECT_THAT(output.err, HasSubstr("table, json, csv or quiet"));
  EXPECT_EQ(scene_.Run({}).exit_code, 2);
}

TEST_F(UsageTest, EveryCommandHasHelpWithAnExample) {
  const Ended top = scene_.Run({"--help"});
  EXPECT_EQ(top.exit_code, 0);
  for (const std::string command :
       {"run", "plan", "serve", "worker", "submit", "wait", "cancel", "resume", "status", "explain",
        "list", "show", "diff", "query", "report", "data"}) {
    EXPECT_THAT(top.out, HasSubstr("  " + command + " ")) << command;
    const Ended help = scene_.Run({command, "--help"});
    EXPECT_EQ(help.exit_code, 0) << command;
    EXPECT_THAT(help.out, AllOf(HasSubstr("Example"), HasSubstr("saffron " + command))) << command;
  }
}

TEST_F(UsageTest, EnvironmentVariablesStandInForFlags) {
  scene_.environment["SAFFRON_OUTPUT"] = "json";
  scene_.environment["SAFFRON_DB"] = scene_.Path("elsewhere.db");
  const Ended ended = scene_.Run({"run", scene_.Write("sweep.yaml", NoopSweep(1))});
  EXPECT_EQ(ended.exit_code, 0) << ended.err;
  EXPECT_THAT(ended.out, StartsWith("{"));
  EXPECT_TRUE(std::filesystem::exists(scene_.Path("elsewhere.db")));
}

}  // namespace
}  // namespace saffron
