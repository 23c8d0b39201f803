#pragma once
// SQLite with RAII and statuses. Nothing here knows Saffron's tables.
//
// Codes: RESOURCE_EXHAUSTED: the disk (or the file's page limit) is full. UNAVAILABLE: I/O error,
// or locked by another process. FAILED_PRECONDITION: not a database, or not writable. DATA_LOSS:
// damaged. DEADLINE_EXCEEDED: interrupted. INVALID_ARGUMENT: SQL that does not compile. INTERNAL:
// the rest.

#include <sqlite3.h>

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace saffron {

class Database;

// One compiled statement, to be run any number of times. Not thread-safe.
//
//   RETURN_IF_ERROR(insert.Run(trial, key, value));
//   select.Start(trial);
//   while (true) {
//     ASSIGN_OR_RETURN(const bool row, select.Next());
//     if (!row) break;
//     use(select.Int(0), select.Text(1));
//   }
class Statement {
 public:
  Statement() = default;

  // Binds the arguments (integers, double, text, std::nullopt for NULL, std::optional of these) to
  // the parameters 1, 2, ... and starts over. Text must live until the last Next.
  template <typename... Args>
  void Start(const Args&... args) {
    sqlite3_reset(statement_.get());
    int index = 0;
    (Bind(++index, args), ...);
  }
  // Steps to the next row. False, and rewound, when there is none.
  absl::StatusOr<bool> Next();
  // Start, and step to the end. Rows are dropped.
  template <typename... Args>
  absl::Status Run(const Args&... args) {
    Start(args...);
    return Finish();
  }
  // Start, and the first column of the first row as an integer; nullopt when there is no row.
  template <typename... Args>
  absl::StatusOr<std::optional<int64_t>> One(const Args&... args) {
    Start(args...);
    return OneInt();
  }

  // Columns of the current row.
  int64_t Int(int column) const { return sqlite3_column_int64(statement_.get(), column); }
  double Double(int column) const { return sqlite3_column_double(statement_.get(), column); }
  std::string_view Text(int column) const;  // valid until Next
  bool IsNull(int column) const;
  sqlite3_stmt* get() const { return statement_.get(); }

 private:
  friend class Database;
  struct Finalize {
    void operator()(sqlite3_stmt* s) const { sqlite3_finalize(s); }
  };

  void Bind(int i, int64_t v) { sqlite3_bind_int64(statement_.get(), i, v); }
  void Bind(int i, uint64_t v) { Bind(i, static_cast<int64_t>(v)); }
  void Bind(int i, int v) { Bind(i, int64_t{v}); }
  void Bind(int i, bool v) { Bind(i, int64_t{v}); }
  void Bind(int i, double v) { sqlite3_bind_double(statement_.get(), i, v); }
  void Bind(int i, std::string_view v);
  void Bind(int i, const std::string& v) { Bind(i, std::string_view(v)); }
  void Bind(int i, const char* v) { Bind(i, std::string_view(v)); }
  void Bind(int i, std::nullopt_t) { sqlite3_bind_null(statement_.get(), i); }
  template <typename T>
  void Bind(int i, const std::optional<T>& v) {
    v ? Bind(i, *v) : Bind(i, std::nullopt);
  }
  absl::Status Finish();
  absl::StatusOr<std::optional<int64_t>> OneInt();

  std::unique_ptr<sqlite3_stmt, Finalize> statement_;
};

// One connection. Not thread-safe.
class Database {
 public:
  enum class Mode { kReadWriteCreate, kReadOnly };
  static absl::StatusOr<Database> Open(const std::string& path, Mode mode);

  // `rest`, where given, is set to what follows the first statement.
  absl::StatusOr<Statement> Prepare(std::string_view sql, const char** rest = nullptr);
  // The statement of a constant, compiled at its first use and kept. `sql` must live for ever.
  absl::StatusOr<Statement*> Use(const char* sql);
  // Any number of statements without parameters.
  absl::Status Execute(const std::string& sql);
  // Rewinds every statement that was left on a row: one alone keeps its snapshot, and the
  // write-ahead log grows for as long.
  void RewindAll();
  int64_t LastInsertId() const { return sqlite3_last_insert_rowid(db_.get()); }
  int64_t Changes() const { return sqlite3_changes64(db_.get()); }
  sqlite3* get() const { return db_.get(); }

 private:
  struct Close {
    void operator()(sqlite3* db) const { sqlite3_close_v2(db); }
  };
  std::unique_ptr<sqlite3, Close> db_;
  std::map<const char*, std::unique_ptr<Statement>> used_;  // by address
};

// The connection's last error as a status: "DOING: what SQLite says".
absl::Status SqliteStatus(sqlite3* db, int code, std::string_view doing);

}  // namespace saffron
