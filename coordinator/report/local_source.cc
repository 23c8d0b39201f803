// The results database as a local file, opened so that nothing we do can change it or block its
// writer: SQLITE_OPEN_READONLY, an authorizer that lets only reading through, and a progress
// handler that ends a statement at its time limit. https://sqlite.org/c3ref/set_authorizer.html

#include <sqlite3.h>
#include <sys/stat.h>

#include <array>
#include <cstring>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "coordinator/report/read_source.h"
#include "core/base/status_macros.h"

namespace saffron {
namespace {

// The newest schema this build can read: coordinator/store/schema.sql.
constexpr int kSchemaVersion = 1;
constexpr int kBusyTimeoutMs = 5000;
constexpr int kStepsBetweenClockReads = 2000;

struct CloseDatabase {
  void operator()(sqlite3* db) const { sqlite3_close_v2(db); }
};
struct FinalizeStatement {
  void operator()(sqlite3_stmt* statement) const { sqlite3_finalize(statement); }
};
using Database = std::unique_ptr<sqlite3, CloseDatabase>;
using Statement = std::unique_ptr<sqlite3_stmt, FinalizeStatement>;

// Pragmas that only describe the database.
bool IsReadingPragma(const char* name) {
  static constexpr std::array<const char*, 8> kReading = {
      "table_info", "table_xinfo", "table_list",       "index_list",
      "index_info", "index_xinfo", "foreign_key_list", "database_list"};
  for (const char* reading : kReading) {
    if (sqlite3_stricmp(name, reading) == 0) return true;
  }
  return false;
}

int Authorize(void*, int action, const char* first, const char* second, const char*, const char*) {
  switch (action) {
    case SQLITE_SELECT:
    case SQLITE_READ:
    case SQLITE_RECURSIVE:
      return SQLITE_OK;
    case SQLITE_FUNCTION:  // `second` is its name
      return second && sqlite3_stricmp(second, "load_extension") == 0 ? SQLITE_DENY : SQLITE_OK;
    case SQLITE_UPDATE:  // what declaring a table-valued function (json_each) looks like
      return first && sqlite3_stricmp(first, "sqlite_master") == 0 ? SQLITE_OK : SQLITE_DENY;
    case SQLITE_PRAGMA:
      return first && IsReadingPragma(first) ? SQLITE_OK : SQLITE_DENY;
    default:
      return SQLITE_DENY;
  }
}

int PastDeadline(void* deadline) {
  return absl::Now() > *static_cast<const absl::Time*>(deadline) ? 1 : 0;
}

Cell CellOf(sqlite3_stmt* statement, int column) {
  switch (sqlite3_column_type(statement, column)) {
    case SQLITE_INTEGER:
      return static_cast<int64_t>(sqlite3_column_int64(statement, column));
    case SQLITE_FLOAT:
      return sqlite3_column_double(statement, column);
    case SQLITE_TEXT: {
      const auto* text = reinterpret_cast<const char*>(sqlite3_column_text(statement, column));
      return std::string(text, sqlite3_column_bytes(statement, column));
    }
    case SQLITE_BLOB: {
      const auto* bytes = static_cast<const char*>(sqlite3_column_blob(statement, column));
      const int size = sqlite3_column_bytes(statement, column);
      return absl::StrCat("x'", absl::BytesToHexString(absl::string_view(bytes, size)), "'");
    }
    default:
      return std::monostate();
  }
}

class LocalSource : public ReadSource {
 public:
  LocalSource(Database db, std::string path, std::string flags)
      : db_(std::move(db)), path_(std::move(path)), flags_(std::move(flags)) {}

  using ReadSource::Query;
  absl::StatusOr<ResultTable> Query(std::string_view sql, absl::Duration time_limit) override {
    ASSIGN_OR_RETURN(const Statement statement, Prepare(sql));
    ResultTable table;
    const int columns = sqlite3_column_count(statement.get());
    for (int i = 0; i < columns; ++i) {
      table.columns.emplace_back(sqlite3_column_name(statement.get(), i));
    }
    absl::Time deadline = absl::Now() + time_limit;
    sqlite3_progress_handler(db_.get(), kStepsBetweenClockReads, PastDeadline, &deadline);
    int code;
    while ((code = sqlite3_step(statement.get())) == SQLITE_ROW) {
      std::vector<Cell>& row = table.rows.emplace_back();
      row.reserve(columns);
      for (int i = 0; i < columns; ++i) row.push_back(CellOf(statement.get(), i));
    }
    sqlite3_progress_handler(db_.get(), 0, nullptr, nullptr);
    if (code == SQLITE_INTERRUPT) {
      return absl::DeadlineExceededError(
          absl::StrCat("the query took longer than ", absl::FormatDuration(time_limit)));
    }
    if (code != SQLITE_DONE) return Error(code);
    return table;
  }

  std::string Where() const override { return path_; }
  std::string Flags() const override { return flags_; }

  absl::Status Error(int code) const {
    const char* message = sqlite3_errmsg(db_.get());
    switch (code & 0xFF) {
      case SQLITE_ERROR:
        return absl::InvalidArgumentError(absl::StrCat("SQL: ", message));
      case SQLITE_NOTADB:
        return absl::FailedPreconditionError(absl::StrCat(path_, ": not a Saffron database"));
      case SQLITE_AUTH:
      case SQLITE_READONLY:
        return absl::InvalidArgumentError(
            absl::StrCat("only reading is allowed here (", message, ")"));
      case SQLITE_CORRUPT:
        return absl::DataLossError(absl::StrCat(path_, ": ", message));
      default:
        return absl::UnavailableError(absl::StrCat(path_, ": ", message));
    }
  }

 private:
  // Compiles the one statement in `sql`.
  absl::StatusOr<Statement> Prepare(std::string_view sql) const {
    sqlite3_stmt* raw = nullptr;
    const char* rest = nullptr;
    const int code =
        sqlite3_prepare_v2(db_.get(), sql.data(), static_cast<int>(sql.size()), &raw, &rest);
    Statement statement(raw);
    if (code != SQLITE_OK) return Error(code);
    if (!statement) return absl::InvalidArgumentError("SQL: there is no statement in it");
    if (!sqlite3_stmt_readonly(raw)) {
      return absl::InvalidArgumentError("only reading is allowed here (the statement writes)");
    }
    const absl::string_view after(rest, sql.data() + sql.size() - rest);
    if (!absl::StripAsciiWhitespace(after).empty()) {
      return absl::InvalidArgumentError(
          absl::StrCat("SQL: one statement at a time; this follows the first: ",
                       absl::StripAsciiWhitespace(after).substr(0, 60)));
    }
    return statement;
  }

  Database db_;
  std::string path_, flags_;
};

absl::StatusOr<Database> Open(const std::string& path, const char* uri_parameters) {
  std::string uri = "file:";
  for (const char c : std::filesystem::absolute(path).string()) {
    if (c == '%' || c == '?' || c == '#') {
      absl::StrAppend(&uri, "%", absl::BytesToHexString(absl::string_view(&c, 1)));
    } else {
      uri += c;
    }
  }
  uri += uri_parameters;
  sqlite3* raw = nullptr;
  const int code = sqlite3_open_v2(
      uri.c_str(), &raw, SQLITE_OPEN_READONLY | SQLITE_OPEN_URI | SQLITE_OPEN_NOMUTEX, nullptr);
  Database db(raw);
  if (code != SQLITE_OK) {
    return absl::UnavailableError(
        absl::StrCat(path, ": ", raw ? sqlite3_errmsg(raw) : "no memory"));
  }
  sqlite3_busy_timeout(raw, kBusyTimeoutMs);
  sqlite3_set_authorizer(raw, Authorize, nullptr);
  return db;
}

}  // namespace

absl::StatusOr<std::unique_ptr<ReadSource>> OpenLocalSource(const std::string& path,
                                                            std::string flags) {
  struct stat file;
  if (stat(path.c_str(), &file) != 0) {
    return absl::NotFoundError(absl::StrCat(path, ": no such results database (", strerror(errno),
                                            "); `saffron run` makes one, --db names another"));
  }
  if (!S_ISREG(file.st_mode)) {
    return absl::FailedPreconditionError(absl::StrCat(path, ": not a file"));
  }
  constexpr char kVersion[] = "SELECT max(version) FROM schema_version";
  ASSIGN_OR_RETURN(Database db, Open(path, ""));
  auto source = std::make_unique<LocalSource>(std::move(db), path, flags);
  absl::StatusOr<ResultTable> version = source->Query(kVersion);
  if (absl::IsUnavailable(version.status()) && !std::filesystem::exists(path + "-wal")) {
    // A folder we may not write to: SQLite cannot make its shared-memory file there. Without a
    // write-ahead log there is no writer either, so the file can be read as it lies.
    ASSIGN_OR_RETURN(db, Open(path, "?immutable=1"));
    source = std::make_unique<LocalSource>(std::move(db), path, flags);
    version = source->Query(kVersion);
  }
  if (absl::IsInvalidArgument(version.status())) {
    return absl::FailedPreconditionError(absl::StrCat(path, ": not a Saffron database"));
  }
  RETURN_IF_ERROR(version.status());
  const int64_t* found = std::get_if<int64_t>(&version->rows.at(0).at(0));
  if (found == nullptr) {
    return absl::FailedPreconditionError(absl::StrCat(path, ": not a Saffron database"));
  }
  if (*found > kSchemaVersion) {
    return absl::FailedPreconditionError(absl::StrCat(path, ": schema version ", *found,
                                                      ", this build reads up to ", kSchemaVersion,
                                                      "; use a newer saffron"));
  }
  return source;
}

std::string SqlText(std::string_view text) {
  std::string literal = "'";
  for (const char c : text) {
    if (c == '\'') literal += '\'';
    if (c != '\0') literal += c;
  }
  return literal + "'";
}

}  // namespace saffron
