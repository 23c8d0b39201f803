#include "coordinator/store/read_query.h"

#include <algorithm>
#include <chrono>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "core/base/status_macros.h"

namespace saffron {
namespace {

using Clock = std::chrono::steady_clock;

// Instructions of SQLite's machine between two looks at the clock: well under a millisecond.
constexpr int kStepsPerLook = 4000;

struct Limit {
  Clock::time_point deadline;
  const std::atomic<bool>* stop;

  bool stopped() const { return stop != nullptr && *stop; }
};

int IsReached(void* argument) {
  const Limit& limit = *static_cast<const Limit*>(argument);
  return limit.stopped() || Clock::now() > limit.deadline;
}

// https://www.sqlite.org/c3ref/set_authorizer.html: asked while a statement is compiled.
int AllowReading(void*, int action, const char* name, const char* detail, const char*,
                 const char*) {
  switch (action) {
    case SQLITE_SELECT:
    case SQLITE_READ:
    case SQLITE_RECURSIVE:
      return SQLITE_OK;
    case SQLITE_FUNCTION:
      return detail != nullptr && absl::EqualsIgnoreCase(detail, "load_extension") ? SQLITE_DENY
                                                                                   : SQLITE_OK;
    case SQLITE_UPDATE:  // how json_each and its like declare themselves
      return name != nullptr && absl::EqualsIgnoreCase(name, "sqlite_master") ? SQLITE_OK
                                                                              : SQLITE_DENY;
    case SQLITE_PRAGMA:
      // Those that describe; none that sets. (pragma_table_info() arrives here as well.)
      return name != nullptr && detail != nullptr &&
                     (absl::EndsWithIgnoreCase(name, "_info") ||
                      absl::EndsWithIgnoreCase(name, "_xinfo"))
                 ? SQLITE_OK
                 : SQLITE_DENY;
    default:
      return SQLITE_DENY;
  }
}

}  // namespace

absl::StatusOr<ReadQuery> ReadQuery::Open(const std::string& path) {
  ASSIGN_OR_RETURN(Database db, Database::Open(path, Database::Mode::kReadOnly));
  // Loads the schema: before that, SQLite takes an unknown name for a schema that changed.
  RETURN_IF_ERROR(db.Execute("SELECT 1 FROM sqlite_schema LIMIT 1"));
  sqlite3_set_authorizer(db.get(), AllowReading, nullptr);
  sqlite3_limit(db.get(), SQLITE_LIMIT_LENGTH, 64 << 20);
  return ReadQuery(std::move(db));
}

absl::StatusOr<Statement> ReadQuery::PrepareOne(std::string_view sql) {
  const char* rest = nullptr;
  absl::StatusOr<Statement> statement = db_.Prepare(sql, &rest);
  if (!statement.ok()) {
    // (A refused CREATE TEMP TABLE ends in an error of the schema parser.)
    const absl::StatusCode code = statement.status().code();
    if (sqlite3_errcode(db_.get()) != SQLITE_AUTH && code != absl::StatusCode::kInternal) {
      return statement;
    }
    return absl::InvalidArgumentError("only reading is allowed here: begin with SELECT or WITH");
  }
  if (statement->get() == nullptr) return absl::InvalidArgumentError("there is no statement");
  if (!sqlite3_stmt_readonly(statement->get())) {
    return absl::InvalidArgumentError("only reading is allowed here, and this statement writes");
  }
  const absl::string_view after =
      absl::StripAsciiWhitespace(absl::string_view(rest, sql.data() + sql.size() - rest));
  // Comments and semicolons may follow.
  const absl::StatusOr<Statement> second = db_.Prepare({after.data(), after.size()});
  if (!second.ok() || second->get() != nullptr) {
    return absl::InvalidArgumentError(
        absl::StrCat("one statement at a time; a second begins at: ", after.substr(0, 40)));
  }
  return statement;
}

absl::Status ReadQuery::Run(std::string_view sql, absl::Duration time_limit,
                            const std::function<void(const std::vector<std::string>&)>& columns,
                            const std::function<bool(const Statement&)>& row,
                            const std::atomic<bool>* stop) {
  ASSIGN_OR_RETURN(Statement statement, PrepareOne(sql));
  std::vector<std::string> names;
  for (int i = 0; i < sqlite3_column_count(statement.get()); ++i) {
    names.push_back(sqlite3_column_name(statement.get(), i));
  }
  columns(names);
  time_limit = std::clamp(time_limit, absl::ZeroDuration(), absl::Hours(24));
  Limit limit{Clock::now() + absl::ToChronoNanoseconds(time_limit), stop};
  sqlite3_progress_handler(db_.get(), kStepsPerLook, IsReached, &limit);
  absl::Status status;
  while (true) {
    const absl::StatusOr<bool> more = statement.Next();
    if (!more.ok()) status = more.status();
    if (!more.ok() || !*more) break;
    if (!row(statement)) {
      status = absl::CancelledError("the reader went away");
      break;
    }
  }
  sqlite3_progress_handler(db_.get(), 0, nullptr, nullptr);
  if (absl::IsDeadlineExceeded(status)) {
    if (limit.stopped()) return absl::CancelledError("the reader went away");
    return absl::DeadlineExceededError(absl::StrCat("the query took longer than its time limit, ",
                                                    absl::FormatDuration(time_limit)));
  }
  return status;
}

}  // namespace saffron
