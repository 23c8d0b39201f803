#include <sqlite3.h>
#include <unistd.h>

#include <cstdio>
#include <filesystem>
#include <fstream>
#include <string>

#include "coordinator/report/read_source.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/unit/coordinator_report/sample_database.h"

namespace saffron {
namespace {

using testing::HasSubstr;

class LocalSourceTest : public testing::Test {
 protected:
  void SetUp() override {
    auto opened = OpenLocalSource(sample_.path(), "--db x.db");
    ASSERT_TRUE(opened.ok()) << opened.status();
    source_ = *std::move(opened);
  }
  SampleDatabase sample_;
  std::unique_ptr<ReadSource> source_;
};

TEST_F(LocalSourceTest, ValuesKeepTheirTypes) {
  const auto table = source_->Query("SELECT 1 AS i, 1.5 AS d, 'x' AS t, NULL AS n, x'0aff' AS b");
  ASSERT_TRUE(table.ok()) << table.status();
  EXPECT_THAT(table->columns, testing::ElementsAre("i", "d", "t", "n", "b"));
  const std::vector<Cell> row = {int64_t{1}, 1.5, std::string("x"), {}, std::string("x'0aff'")};
  EXPECT_EQ(table->rows.at(0), row);
}

TEST_F(LocalSourceTest, NothingCanBeWritten) {
  const std::string elsewhere = sample_.path() + ".copy";
  for (const std::string& sql : std::vector<std::string>{
           "DELETE FROM trials", "CREATE TABLE x (y)", "VACUUM INTO '" + elsewhere + "'",
           "ATTACH '" + elsewhere + "' AS other", std::string("PRAGMA journal_mode = DELETE"),
           std::string("PRAGMA user_version = 3"), std::string("BEGIN"),
           std::string("CREATE TEMP TABLE x (y)")}) {
    const auto result = source_->Query(sql);
    EXPECT_TRUE(absl::IsInvalidArgument(result.status())) << sql << ": " << result.status();
  }
  EXPECT_FALSE(std::filesystem::exists(elsewhere));
}

TEST_F(LocalSourceTest, TheShapeOfTheDatabaseCanBeAsked) {
  const auto columns = source_->Query("SELECT name FROM pragma_table_info('v_trials')");
  ASSERT_TRUE(columns.ok()) << columns.status();
  EXPECT_GT(columns->rows.size(), 20);
  EXPECT_TRUE(source_->Query("PRAGMA table_info(trials)").ok());
}

TEST_F(LocalSourceTest, AnErrorSaysWhatIsWrong) {
  const auto result = source_->Query("SELECT nonsense FROM trials");
  EXPECT_TRUE(absl::IsInvalidArgument(result.status()));
  EXPECT_THAT(std::string(result.status().message()), HasSubstr("no such column: nonsense"));
  EXPECT_THAT(std::string(source_->Query("SELECT nonsense").status().message()),
              HasSubstr("no such column: nonsense"));
}

TEST_F(LocalSourceTest, OneStatementAtATime) {
  EXPECT_TRUE(absl::IsInvalidArgument(source_->Query("SELECT 1; SELECT 2").status()));
  EXPECT_TRUE(absl::IsInvalidArgument(source_->Query("  ").status()));
  EXPECT_TRUE(source_->Query("SELECT 1 ;\n").ok());
}

TEST_F(LocalSourceTest, AnEndlessQueryEndsAtItsLimit) {
  const auto result = source_->Query(
      "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n",
      absl::Milliseconds(20));
  EXPECT_TRUE(absl::IsDeadlineExceeded(result.status())) << result.status();
  EXPECT_TRUE(source_->Query("SELECT 1").ok());
}

TEST_F(LocalSourceTest, ReadsWhileAWriterHoldsAnOpenTransaction) {
  sample_.Run("PRAGMA journal_mode = WAL");
  sample_.AddRoadmap("r", "test/perplexity", "minimize");
  sample_.Run("BEGIN IMMEDIATE; UPDATE roadmaps SET name = 'unfinished'");
  const auto rows = source_->Query("SELECT name FROM roadmaps");
  sample_.Run("ROLLBACK");
  ASSERT_TRUE(rows.ok()) << rows.status();
  EXPECT_EQ(rows->rows.at(0).at(0), Cell(std::string("r")));
}

TEST_F(LocalSourceTest, ANewerSchemaIsRefused) {
  sample_.Run("UPDATE schema_version SET version = 99");
  const auto opened = OpenLocalSource(sample_.path(), "");
  EXPECT_TRUE(absl::IsFailedPrecondition(opened.status()));
  EXPECT_THAT(std::string(opened.status().message()), HasSubstr("99"));
}

TEST_F(LocalSourceTest, AnOlderSchemaIsRefusedSayingWhatBringsItUpToDate) {
  sample_.Run("UPDATE schema_version SET version = 1");
  const auto opened = OpenLocalSource(sample_.path(), "");
  EXPECT_TRUE(absl::IsFailedPrecondition(opened.status()));
  EXPECT_THAT(std::string(opened.status().message()), HasSubstr("saffron serve"));
}

TEST_F(LocalSourceTest, OddFileNamesAreNotReadAsUris) {
  const std::string odd = testing::TempDir() + "saffron 100%?x#y.db";
  std::filesystem::copy_file(sample_.path(), odd,
                             std::filesystem::copy_options::overwrite_existing);
  EXPECT_TRUE(OpenLocalSource(odd, "").ok());
  std::remove(odd.c_str());
}

TEST(LocalSourceErrorTest, AMissingFileIsNotFoundAndNotMade) {
  const std::string path = testing::TempDir() + "saffron_missing.db";
  EXPECT_TRUE(absl::IsNotFound(OpenLocalSource(path, "").status()));
  EXPECT_FALSE(std::filesystem::exists(path));
}

TEST(LocalSourceErrorTest, WhatIsNoDatabaseIsSaidSo) {
  const std::string path = testing::TempDir() + "saffron_not_a_database.db";
  std::ofstream(path) << "Four score and seven years ago our fathers brought forth a file that is "
                         "longer than the header of any database.";
  EXPECT_TRUE(absl::IsFailedPrecondition(OpenLocalSource(path, "").status()));
  EXPECT_TRUE(absl::IsFailedPrecondition(OpenLocalSource(testing::TempDir(), "").status()));
  std::ofstream(path, std::ios::trunc) << "";
  EXPECT_TRUE(absl::IsFailedPrecondition(OpenLocalSource(path, "").status()));
  std::remove(path.c_str());
}

TEST(SqlTextTest, QuotesEndNothing) { EXPECT_EQ(SqlText("o'clock"), "'o''clock'"); }

}  // namespace
}  // namespace saffron
