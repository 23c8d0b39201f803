#include "coordinator/store/sqlite.h"

#include <cerrno>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "core/base/status_macros.h"

namespace saffron {
namespace {

absl::StatusCode CodeOf(int extended, int os_error) {
  if (extended == SQLITE_IOERR_WRITE || extended == SQLITE_IOERR_FSYNC ||
      extended == SQLITE_IOERR_SHMSIZE || extended == SQLITE_IOERR_TRUNCATE) {
    if (os_error == ENOSPC || os_error == EDQUOT) return absl::StatusCode::kResourceExhausted;
  }
  switch (extended & 0xff) {
    case SQLITE_FULL:
      return absl::StatusCode::kResourceExhausted;
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
    case SQLITE_IOERR:
    case SQLITE_CANTOPEN:
    case SQLITE_PROTOCOL:
      return absl::StatusCode::kUnavailable;
    case SQLITE_NOTADB:
    case SQLITE_READONLY:
    case SQLITE_PERM:
      return absl::StatusCode::kFailedPrecondition;
    case SQLITE_CORRUPT:
      return absl::StatusCode::kDataLoss;
    case SQLITE_INTERRUPT:
      return absl::StatusCode::kDeadlineExceeded;
    case SQLITE_ERROR:
    case SQLITE_AUTH:
      return absl::StatusCode::kInvalidArgument;
    default:
      return absl::StatusCode::kInternal;
  }
}

// A name that cannot be opened will not open later either: the user's mistake, not a weak disk.
absl::Status CannotOpen(sqlite3* db, const std::string& path) {
  const int os_error = sqlite3_system_errno(db);
  const bool is_name = os_error == ENOENT || os_error == ENOTDIR || os_error == EACCES ||
                       os_error == EPERM || os_error == EROFS || os_error == EISDIR;
  if (!is_name) {
    return SqliteStatus(db, sqlite3_extended_errcode(db), absl::StrCat("cannot open ", path));
  }
  return absl::FailedPreconditionError(
      absl::StrCat("cannot open ", path, ": ", strerror(os_error)));
}

}  // namespace

absl::Status SqliteStatus(sqlite3* db, int code, std::string_view doing) {
  const int os_error = sqlite3_system_errno(db);
  return absl::Status(CodeOf(code, os_error),
                      absl::StrCat(std::string(doing), ": ", sqlite3_errmsg(db)));
}

void Statement::Bind(int i, std::string_view v) {
  // A null pointer would bind NULL; an empty text is not NULL.
  sqlite3_bind_text(statement_.get(), i, v.data() == nullptr ? "" : v.data(),
                    static_cast<int>(v.size()), SQLITE_STATIC);
}

std::string_view Statement::Text(int column) const {
  const auto* text = reinterpret_cast<const char*>(sqlite3_column_text(statement_.get(), column));
  return text == nullptr ? std::string_view()
                         : std::string_view(text, sqlite3_column_bytes(statement_.get(), column));
}

bool Statement::IsNull(int column) const {
  return sqlite3_column_type(statement_.get(), column) == SQLITE_NULL;
}

absl::StatusOr<bool> Statement::Next() {
  const int code = sqlite3_step(statement_.get());
  if (code == SQLITE_ROW) return true;
  absl::Status status;
  if (code != SQLITE_DONE) {
    sqlite3* db = sqlite3_db_handle(statement_.get());
    status = SqliteStatus(db, sqlite3_extended_errcode(db), sqlite3_sql(statement_.get()));
  }
  sqlite3_reset(statement_.get());
  if (!status.ok()) return status;
  return false;
}

absl::Status Statement::Finish() {
  while (true) {
    ASSIGN_OR_RETURN(const bool row, Next());
    if (!row) return absl::OkStatus();
  }
}

absl::StatusOr<std::optional<int64_t>> Statement::OneInt() {
  ASSIGN_OR_RETURN(const bool row, Next());
  if (!row) return std::nullopt;
  const int64_t value = Int(0);
  sqlite3_reset(statement_.get());
  return value;
}

absl::StatusOr<Database> Database::Open(const std::string& path, Mode mode) {
  sqlite3* raw = nullptr;
  const int flags =
      SQLITE_OPEN_NOMUTEX |
      (mode == Mode::kReadOnly ? SQLITE_OPEN_READONLY : SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE);
  const int code = sqlite3_open_v2(path.c_str(), &raw, flags, nullptr);
  Database database;
  database.db_.reset(raw);
  if (raw == nullptr) return absl::ResourceExhaustedError("no memory to open a database");
  if (code != SQLITE_OK) {
    return CannotOpen(raw, path);
  }
  sqlite3_extended_result_codes(raw, 1);
  sqlite3_busy_timeout(raw, 5000);
  return database;
}

absl::StatusOr<Statement> Database::Prepare(std::string_view sql, const char** rest) {
  sqlite3_stmt* raw = nullptr;
  const int code = sqlite3_prepare_v3(db_.get(), sql.data(), static_cast<int>(sql.size()),
                                      SQLITE_PREPARE_PERSISTENT, &raw, rest);
  Statement statement;
  statement.statement_.reset(raw);
  if (code != SQLITE_OK) return SqliteStatus(db_.get(), code, sql);
  return statement;
}

absl::StatusOr<Statement*> Database::Use(const char* sql) {
  std::unique_ptr<Statement>& kept = used_[sql];
  if (kept == nullptr) {
    ASSIGN_OR_RETURN(Statement statement, Prepare(sql));
    kept = std::make_unique<Statement>(std::move(statement));
  }
  return kept.get();
}

void Database::RewindAll() {
  for (sqlite3_stmt* s = sqlite3_next_stmt(db_.get(), nullptr); s != nullptr;
       s = sqlite3_next_stmt(db_.get(), s)) {
    if (sqlite3_stmt_busy(s)) sqlite3_reset(s);
  }
}

absl::Status Database::Execute(const std::string& sql) {
  const int code = sqlite3_exec(db_.get(), sql.c_str(), nullptr, nullptr, nullptr);
  if (code != SQLITE_OK) return SqliteStatus(db_.get(), code, sql.substr(0, 100));
  return absl::OkStatus();
}

}  // namespace saffron
