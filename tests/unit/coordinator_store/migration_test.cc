// Databases of earlier schema versions, as they were written then, opened by this build.

#include <fstream>
#include <map>
#include <regex>
#include <sstream>

#include "coordinator/store/schema.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/unit/coordinator_store/store_fixture.h"

namespace saffron {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

std::string ReadFile(const std::string& name) {
  std::ifstream file(SAFFRON_SOURCE_DIR "/tests/unit/coordinator_store/" + name);
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

// A schema object's text without comments, quotes and spaces: ALTER TABLE writes them differently.
std::string Plain(std::string sql) {
  sql = std::regex_replace(sql, std::regex("--[^\n]*"), "");
  return std::regex_replace(sql, std::regex("[\\s\"]+"), "");
}

std::map<std::string, std::string> SchemaOf(const std::string& path) {
  std::map<std::string, std::string> objects;
  Database db = *Database::Open(path, Database::Mode::kReadOnly);
  Statement select = *db.Prepare("SELECT type || ' ' || name, sql FROM sqlite_schema");
  while (*select.Next()) {
    objects[std::string(select.Text(0))] = Plain(std::string(select.Text(1)));
  }
  return objects;
}

// Every row of the table's given columns, as SQL literals.
std::string Dump(Database& db, const std::string& table, const std::vector<std::string>& columns) {
  std::string sql = "SELECT ", text;
  for (const std::string& column : columns) {
    absl::StrAppend(&sql, sql.size() > 7 ? " || ',' || " : "", "quote(", column, ")");
  }
  Statement select = *db.Prepare(absl::StrCat(sql, " FROM ", table, " ORDER BY 1"));
  while (*select.Next()) absl::StrAppend(&text, std::string(select.Text(0)), "\n");
  return text;
}

// A history with a row in every table of version 1 that its programs wrote.
constexpr char kVersion1Rows[] = R"(
PRAGMA application_id = 1396786770;
INSERT INTO schema_version VALUES (1, 1000, '0.1.0');
INSERT INTO coordinator VALUES (1, 'c0ffee', 1000);
INSERT INTO datasets VALUES (1, 'f00d', 'sotu', 1000);
INSERT INTO roadmaps VALUES (1, 'it''s', 2, 1000);
INSERT INTO revisions VALUES
  (1, 1, 'd1', 'name: a', 'why?', 'test/perplexity', 'minimize', 3, 1, 1, -1, 5, 1, 1, 0, NULL, NULL, NULL, 1000),
  (1, 2, 'd2', 'name: a', 'why?', 'test/perplexity', 'minimize', 3, 1, 1, -1, 5, 1, 1, 0, 60, 70, 80, 2000);
INSERT INTO variants VALUES (1, 'v1', '{"model.bits":64}', 1e6, 1e9, 2.5), (2, 'v2', '{"model.bits":32}', 1e5, 1e8, 0.5);
INSERT INTO roadmap_variants VALUES (1, 1, 1, 'baseline', 'baseline', 0, 'baseline'),
  (1, 2, 1, 'baseline', 'baseline', 0, 'baseline'), (1, 2, 2, 'size', 'grid', 1, 'bits=32');
INSERT INTO roadmap_blocks VALUES (1, 2, 'size', 2, 'grid', 0, '');
INSERT INTO trials VALUES (1, 1, 1, 1, 3, 'succeeded', 2, 0, NULL, '', 1000, 5000),
  (2, 2, 1, 1, 3, 'failed', 1, 0, 'error', 'no', 2000, 6000);
INSERT INTO roadmap_trials VALUES (1, 1, 1, 1), (1, 2, 1, 1), (1, 2, 2, 0);
INSERT INTO workers VALUES (1, 'w', 'here', 7, 'space', 2, '0.1.0', 1500, NULL);
INSERT INTO attempts VALUES (1, 1, 1, 2000, NULL, NULL, 2500, 'failed', 'worker_lost', 'silent'),
  (1, 2, 1, 3000, 3100, 4900, 5000, 'succeeded', NULL, ''), (2, 1, 1, 5500, NULL, NULL, 6000, 'failed', 'error', 'no');
INSERT INTO metrics VALUES (1, 'train/loss', 1, 2.5, 0), (1, 'train/loss', 2, NULL, 1), (1, 'train/loss', 3, 9e999, 2);
INSERT INTO results VALUES (1, 'test/perplexity', 99.5, 0);
INSERT INTO events VALUES (1, 2000, 'leased', 1, 1, 1, NULL, ''), (2, 5000, 'succeeded', 1, NULL, NULL, NULL, '');
)";

class MigrationTest : public testing::Test {
 protected:
  void SetUp() override {
    Database db = *Database::Open(path, Database::Mode::kReadWriteCreate);
    ASSERT_TRUE(db.Execute(ReadFile("schema_v1.sql")).ok());
    const absl::Status filled = db.Execute(kVersion1Rows);
    ASSERT_TRUE(filled.ok()) << filled;
    Statement tables = *db.Prepare("SELECT name FROM sqlite_schema WHERE type = 'table'");
    while (*tables.Next()) {
      const std::string table(tables.Text(0));
      Statement columns =
          *db.Prepare(absl::StrCat("SELECT name FROM pragma_table_info('", table, "')"));
      while (*columns.Next()) columns_[table].emplace_back(columns.Text(0));
      before_[table] = Dump(db, table, columns_[table]);
    }
  }

  absl::Status Open() {
    return RunStore::Open({.path = path, .survive_power_loss = false}, now).status();
  }

  TemporaryFolder folder;
  std::string path = folder.File("old.db");
  absl::Time now = absl::FromUnixSeconds(1'700'000'000);
  std::map<std::string, std::vector<std::string>> columns_;  // of version 1, by table
  std::map<std::string, std::string> before_;
};

TEST_F(MigrationTest, Version1EndsWithTheSchemaOfAFreshDatabase) {
  ASSERT_TRUE(Open().ok());
  const std::string fresh = folder.File("fresh.db");
  ASSERT_TRUE(RunStore::Open({.path = fresh, .survive_power_loss = false}, now).ok());
  const auto old_schema = SchemaOf(path), new_schema = SchemaOf(fresh);
  for (const auto& [name, sql] : new_schema) {
    const auto it = old_schema.find(name);
    ASSERT_NE(it, old_schema.end()) << name << " is missing";
    EXPECT_EQ(it->second, sql) << name;
  }
  EXPECT_EQ(old_schema.size(), new_schema.size());
}

TEST_F(MigrationTest, Version1KeepsItsData) {
  ASSERT_TRUE(Open().ok());
  Database db = *Database::Open(path, Database::Mode::kReadOnly);
  EXPECT_EQ(*ReadSchemaVersion(db, path), kSchemaVersion);
  EXPECT_FALSE(*db.Prepare("PRAGMA foreign_key_check")->Next());
  for (const auto& [table, rows] : before_) {
    if (table == "artifacts") continue;  // nothing was ever written there
    const std::string after = Dump(db, table, columns_[table]);
    if (table == "schema_version") {
      EXPECT_THAT(after, HasSubstr(rows)) << "the history of versions is kept";
    } else {
      EXPECT_EQ(after, rows) << table;
    }
  }
}

TEST_F(MigrationTest, AMigratedDatabaseGoesOnWithItsRoadmaps) {
  auto store = RunStore::Open({.path = path, .survive_power_loss = false}, now);
  ASSERT_TRUE(store.ok()) << store.status();
  EXPECT_EQ((*store)->coordinator_id(), "c0ffee");
  const Scheduler::Snapshot snapshot = *(*store)->LoadSnapshot();
  ASSERT_EQ(snapshot.trials.size(), 2u);
  Scheduler scheduler({}, snapshot, now);
  EXPECT_EQ(scheduler.Counts(RoadmapId{1})->of(Outcome::kSucceeded), 1);
  EXPECT_EQ(scheduler.Counts(RoadmapId{1})->of(Outcome::kFailed), 1);
}

TEST_F(MigrationTest, AMigrationThatCannotFinishLeavesTheOldVersion) {
  {
    Database db = *Database::Open(path, Database::Mode::kReadWriteCreate);
    // The last thing that the migration makes is there already: it fails at its end.
    ASSERT_TRUE(db.Execute("CREATE TABLE nodes (x)").ok());
  }
  const auto schema = SchemaOf(path);
  EXPECT_FALSE(Open().ok());
  EXPECT_EQ(SchemaOf(path), schema);
  Database db = *Database::Open(path, Database::Mode::kReadOnly);
  EXPECT_EQ(*ReadSchemaVersion(db, path), 1);
  const absl::Status readable = CheckReadable(db, path);
  EXPECT_TRUE(absl::IsFailedPrecondition(readable));
  EXPECT_THAT(std::string(readable.message()), HasSubstr("version 1"));
}

TEST_F(MigrationTest, EveryVersionButTheFirstHasAMigration) {
  int count = 0;
  while (kMigrations[count] != nullptr) ++count;
  EXPECT_EQ(count, kSchemaVersion - 1);
}

}  // namespace
}  // namespace saffron
