// The results database as a local file, read through the store's guarded connection.

#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "coordinator/report/read_source.h"
#include "coordinator/store/filesystem.h"
#include "coordinator/store/read_query.h"
#include "coordinator/store/schema.h"
#include "core/base/status_macros.h"

namespace saffron {
namespace {

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
  LocalSource(ReadQuery reader, std::string path, std::string flags)
      : reader_(std::move(reader)), path_(std::move(path)), flags_(std::move(flags)) {}

  using ReadSource::Query;
  absl::StatusOr<ResultTable> Query(std::string_view sql, absl::Duration time_limit) override {
    ResultTable table;
    RETURN_IF_ERROR(reader_.Run(
        sql, time_limit, [&](const std::vector<std::string>& columns) { table.columns = columns; },
        [&](const Statement& statement) {
          std::vector<Cell>& row = table.rows.emplace_back();
          row.reserve(table.columns.size());
          for (size_t i = 0; i < table.columns.size(); ++i) {
            row.push_back(CellOf(statement.get(), static_cast<int>(i)));
          }
          return true;
        }));
    return table;
  }

  std::string Where() const override { return path_; }
  std::string Flags() const override { return flags_; }

 private:
  ReadQuery reader_;
  std::string path_, flags_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<ReadSource>> OpenLocalSource(const std::string& path,
                                                            std::string flags) {
  ASSIGN_OR_RETURN(const bool is_there, FindDatabaseFile(path));
  if (!is_there) {
    return absl::NotFoundError(absl::StrCat(
        path, ": no such results database; `saffron run` makes one, --db names another"));
  }
  // On a connection of its own: the guarded one may not even ask what file this is.
  ASSIGN_OR_RETURN(Database database, Database::Open(path, Database::Mode::kReadOnly));
  RETURN_IF_ERROR(CheckReadable(database, path));
  ASSIGN_OR_RETURN(ReadQuery reader, ReadQuery::Open(path));
  return std::make_unique<LocalSource>(std::move(reader), path, std::move(flags));
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
