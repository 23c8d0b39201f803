#pragma once
// A small results database made from coordinator/store/schema.sql, for tests of what reads it.

#include <cstdint>
#include <map>
#include <string>

struct sqlite3;

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
  // Names a variant in a further block.
  void AlsoInBlock(const std::string& block, int64_t variant);
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

}  // namespace saffron
