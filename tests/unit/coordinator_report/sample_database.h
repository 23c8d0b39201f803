#pragma once
// A small results database made from coordinator/store/schema.sql, for tests of what reads it.

#include <sqlite3.h>

#include <cstdint>
#include <cstdio>
#include <fstream>
#include <map>
#include <sstream>
#include <string>

#include "absl/strings/str_cat.h"
#include "coordinator/report/read_source.h"
#include "coordinator/store/schema.h"
#include "gtest/gtest.h"

namespace saffron {

class SampleDatabase {
 public:
  // A fresh file in the test's temporary folder.
  SampleDatabase();
  ~SampleDatabase();
  SampleDatabase(const SampleDatabase&) = delete;
  SampleDatabase& operator=(const SampleDatabase&) = delete;

  const std::string& path() const { return path_; }
  // Runs statements that must succeed.
  void Run(const std::string& sql);

  // Makes roadmap `name` the newest one, at revision 1; what follows is added to it.
  void AddRoadmap(const std::string& name, const std::string& metric, const std::string& goal);
  // One variant in `block`, from JSON such as R"({"model.bits": 64})". Returns its id.
  int64_t AddVariant(const std::string& block, const std::string& json,
                     const std::string& role = "grid");
  // Names a variant in a further block; `groups`: of an ablation.
  void AlsoInBlock(const std::string& block, int64_t variant, const std::string& groups = "");
  // A trial of it in `state`, with final metrics. Returns its id.
  int64_t AddTrial(int64_t variant, int64_t seed, const std::map<std::string, double>& metrics,
                   const std::string& state = "succeeded", const std::string& message = "",
                   const std::string& failure_class = "");

 private:
  // Adds a row with the given columns (SQL literals); other columns that must not be NULL become 0
  // or
  // ''. Returns its rowid, where the table has one.
  int64_t Insert(const std::string& table, std::map<std::string, std::string> columns);

  std::string path_;
  sqlite3* db_ = nullptr;
  int64_t roadmap_ = 0, position_ = 0;
};

inline SampleDatabase::SampleDatabase() {
  const testing::TestInfo* test = testing::UnitTest::GetInstance()->current_test_info();
  path_ = absl::StrCat(testing::TempDir(), "saffron_report_", test->test_suite_name(), "_",
                       test->name(), ".db");
  std::remove(path_.c_str());
  if (sqlite3_open(path_.c_str(), &db_) != SQLITE_OK) ADD_FAILURE() << "cannot create " << path_;
  std::ifstream file(SAFFRON_SOURCE_DIR "/coordinator/store/schema.sql");
  std::stringstream schema;
  schema << file.rdbuf();
  Run("PRAGMA synchronous = OFF; PRAGMA application_id = 0x53414652");
  Run(schema.str());
  Insert("schema_version", {{"version", absl::StrCat(kSchemaVersion)}});
  Insert("datasets", {{"id", "1"}, {"fingerprint", "'f00d'"}, {"name", "'sotu'"}});
}

inline SampleDatabase::~SampleDatabase() {
  sqlite3_close(db_);
  std::remove(path_.c_str());
}

inline void SampleDatabase::Run(const std::string& sql) {
  char* message = nullptr;
  sqlite3_exec(db_, sql.c_str(), nullptr, nullptr, &message);
  if (message != nullptr) ADD_FAILURE() << message << " in: " << sql;
  sqlite3_free(message);
}

inline int64_t SampleDatabase::Insert(const std::string& table,
                                      std::map<std::string, std::string> columns) {
  sqlite3_stmt* info = nullptr;
  const std::string ask =
      absl::StrCat("SELECT name, type FROM pragma_table_info('", table,
                   "') WHERE \"notnull\" AND dflt_value IS NULL AND NOT (pk = 1 AND name = 'id')");
  EXPECT_EQ(sqlite3_prepare_v2(db_, ask.c_str(), -1, &info, nullptr), SQLITE_OK);
  while (sqlite3_step(info) == SQLITE_ROW) {
    const auto text = [&](int i) {
      return std::string(reinterpret_cast<const char*>(sqlite3_column_text(info, i)));
    };
    columns.try_emplace(text(0), text(1) == "TEXT" ? "''" : "0");
  }
  sqlite3_finalize(info);
  std::string names, values;
  for (const auto& [name, value] : columns) {
    absl::StrAppend(&names, names.empty() ? "" : ", ", name);
    absl::StrAppend(&values, values.empty() ? "" : ", ", value);
  }
  Run(absl::StrCat("INSERT INTO ", table, " (", names, ") VALUES (", values, ")"));
  return sqlite3_last_insert_rowid(db_);
}

inline void SampleDatabase::AddRoadmap(const std::string& name, const std::string& metric,
                                       const std::string& goal) {
  roadmap_ = Insert("roadmaps", {{"name", SqlText(name)}, {"revision", "1"}});
  position_ = 0;
  Insert("revisions", {{"roadmap", absl::StrCat(roadmap_)},
                       {"revision", "1"},
                       {"question", "'Which is best?'"},
                       {"metric", SqlText(metric)},
                       {"goal", SqlText(goal)},
                       {"submitted_us", absl::StrCat(roadmap_)}});
}

inline int64_t SampleDatabase::AddVariant(const std::string& block, const std::string& json,
                                          const std::string& role) {
  const int64_t variant = Insert("variants", {{"digest", "lower(hex(randomblob(32)))"},
                                              {"json", SqlText(json)},
                                              {"parameters", "1000"},
                                              {"flops", "1e9"},
                                              {"seconds", "1"}});
  Insert("roadmap_variants", {{"roadmap", absl::StrCat(roadmap_)},
                              {"revision", "1"},
                              {"variant", absl::StrCat(variant)},
                              {"block", SqlText(block)},
                              {"role", SqlText(role)},
                              {"position", absl::StrCat(position_++)},
                              {"label", absl::StrCat("'label ", variant, "'")}});
  AlsoInBlock(block, variant);
  return variant;
}

inline void SampleDatabase::AlsoInBlock(const std::string& block, int64_t variant,
                                        const std::string& groups) {
  Insert("roadmap_blocks", {{"roadmap", absl::StrCat(roadmap_)},
                            {"revision", "1"},
                            {"block", SqlText(block)},
                            {"variant", absl::StrCat(variant)},
                            {"position", absl::StrCat(position_++)},
                            {"groups", SqlText(groups)}});
}

inline int64_t SampleDatabase::AddTrial(int64_t variant, int64_t seed,
                                        const std::map<std::string, double>& metrics,
                                        const std::string& state, const std::string& message,
                                        const std::string& failure_class) {
  const int64_t trial =
      Insert("trials", {{"variant", absl::StrCat(variant)},
                        {"seed", absl::StrCat(seed)},
                        {"data", "1"},
                        {"numerics", "1"},
                        {"state", SqlText(state)},
                        {"attempts", "1"},
                        {"failure_class", failure_class.empty() ? "NULL" : SqlText(failure_class)},
                        {"message", SqlText(message)},
                        {"ended_us", "1000000"}});
  Insert("roadmap_trials", {{"roadmap", absl::StrCat(roadmap_)},
                            {"revision", "1"},
                            {"trial", absl::StrCat(trial)},
                            {"wanted", "1"}});
  for (const auto& [key, value] : metrics) {
    Insert("results", {{"trial", absl::StrCat(trial)},
                       {"key", SqlText(key)},
                       {"value", absl::StrCat(value)},
                       {"kind", "0"}});
  }
  return trial;
}

}  // namespace saffron
