#pragma once
// Somebody else's SQL on the results database, without letting it write, wander or run for ever.

#include <atomic>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "coordinator/store/sqlite.h"

namespace saffron {

class ReadQuery {
 public:
  // Opens a connection of its own that can only read this one database.
  static absl::StatusOr<ReadQuery> Open(const std::string& path);

  // `columns` is called once, then `row` for each row with a statement that stands on it; a row
  // that returns false ends the query (CANCELLED). INVALID_ARGUMENT: not exactly one statement, a
  // syntax error, an unknown name, or not a reading statement. DEADLINE_EXCEEDED: longer than
  // `time_limit`.
  absl::Status Run(std::string_view sql, absl::Duration time_limit,
                   const std::function<void(const std::vector<std::string>&)>& columns,
                   const std::function<bool(const Statement&)>& row,
                   const std::atomic<bool>* stop = nullptr);

  // For reading with statements of our own.
  Database& database() { return db_; }

 private:
  explicit ReadQuery(Database db) : db_(std::move(db)) {}
  absl::StatusOr<Statement> PrepareOne(std::string_view sql);

  Database db_;
};

}  // namespace saffron
