#pragma once
// Where reading commands get their rows: the results database as a local file, or a coordinator in
// another process. Both answer the same read-only SQL over the tables and views of
// coordinator/store/schema.sql, so that a report is written once.

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"

namespace saffron {

// One value of a result: NULL, integer, number or text. A blob arrives as the SQL literal x'…'.
using Cell = std::variant<std::monostate, int64_t, double, std::string>;

struct ResultTable {
  std::vector<std::string> columns;
  std::vector<std::vector<Cell>> rows;  // each as long as `columns`
};

class ReadSource {
 public:
  virtual ~ReadSource() = default;

  // Runs one SQL statement that cannot write. INVALID_ARGUMENT: not one statement, a syntax error,
  // an unknown name, or an attempt to write (the message says which). DEADLINE_EXCEEDED: longer
  // than `time_limit`. UNAVAILABLE: the database or the coordinator cannot be reached. Not
  // thread-safe.
  virtual absl::StatusOr<ResultTable> Query(std::string_view sql, absl::Duration time_limit) = 0;

  // For people: "/home/me/results.db", "coordinator at 127.0.0.1:7411".
  virtual std::string Where() const = 0;
  // What a user adds to a `saffron` command to reach the same rows: "--db results.db",
  // "--coordinator 127.0.0.1:7411", or nothing when the default does.
  virtual std::string Flags() const = 0;

  absl::StatusOr<ResultTable> Query(std::string_view sql) { return Query(sql, absl::Seconds(30)); }
};

// Opens a results database file read-only: never creates, migrates or blocks it, and waits out a
// writer's lock. `flags` is what Flags() answers. NOT_FOUND: no such file. FAILED_PRECONDITION:
// cannot be opened (store/filesystem.h), not a Saffron database, or one of another schema version.
absl::StatusOr<std::unique_ptr<ReadSource>> OpenLocalSource(const std::string& path,
                                                            std::string flags);

// `text` as an SQL string literal: quoted, quotes doubled.
std::string SqlText(std::string_view text);

}  // namespace saffron
