#include "coordinator/store/schema.h"

#include <random>
#include <string>
#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "core/base/status_macros.h"

namespace saffron {
namespace {

std::string RandomId() {
  std::random_device entropy;
  std::string bytes;
  for (int i = 0; i < 16; ++i) bytes.push_back(static_cast<char>(entropy()));
  return absl::BytesToHexString(bytes);
}

absl::StatusOr<int64_t> ReadInt(Database& db, const char* sql) {
  ASSIGN_OR_RETURN(Statement statement, db.Prepare(sql));
  ASSIGN_OR_RETURN(const std::optional<int64_t> value, statement.One());
  return value.value_or(0);
}

absl::Status NoteVersion(Database& db, int version, absl::Time now) {
  ASSIGN_OR_RETURN(Statement insert, db.Prepare("INSERT INTO schema_version VALUES (?, ?, ?)"));
  return insert.Run(version, absl::ToUnixMicros(now), SAFFRON_VERSION);
}

absl::Status Create(Database& db, absl::Time now) {
  RETURN_IF_ERROR(db.Execute(kSchemaSql));
  RETURN_IF_ERROR(db.Execute(absl::StrCat("PRAGMA application_id = ", kApplicationId)));
  RETURN_IF_ERROR(NoteVersion(db, kSchemaVersion, now));
  ASSIGN_OR_RETURN(Statement id, db.Prepare("INSERT INTO coordinator VALUES (1, ?, ?)"));
  return id.Run(RandomId(), absl::ToUnixMicros(now));
}

// Why the first statement on `path` failed, for whoever named that file.
absl::Status CannotRead(Database& db, const std::string& path, const absl::Status& status) {
  const std::string why = sqlite3_errmsg(db.get());
  switch (sqlite3_extended_errcode(db.get()) & 0xff) {
    case SQLITE_NOTADB:
      return absl::FailedPreconditionError(
          absl::StrCat(path, " is not a database (", why, "): name another file with --db"));
    case SQLITE_CORRUPT:
      return absl::FailedPreconditionError(
          absl::StrCat(path, " is damaged (", why, "): name a backup of it with --db"));
    case SQLITE_READONLY:
    case SQLITE_CANTOPEN:
    case SQLITE_PERM:
      return absl::FailedPreconditionError(absl::StrCat(
          "cannot open ", path, " (", why,
          "): SQLite keeps two files beside it, -wal and -shm, which this user may not make or "
          "read there: copy the database to a folder of your own"));
    default:
      return status;
  }
}

// The first column of every row.
absl::StatusOr<std::vector<std::string>> ReadTexts(Database& db, const char* sql) {
  std::vector<std::string> texts;
  ASSIGN_OR_RETURN(Statement select, db.Prepare(sql));
  while (true) {
    ASSIGN_OR_RETURN(const bool row, select.Next());
    if (!row) return texts;
    texts.emplace_back(select.Text(0));
  }
}

// Views refer to each other and to tables by name only: as a database made today has them.
absl::Status RemakeViews(Database& db) {
  ASSIGN_OR_RETURN(Database fresh, Database::Open(":memory:", Database::Mode::kReadWriteCreate));
  RETURN_IF_ERROR(fresh.Execute(kSchemaSql));
  ASSIGN_OR_RETURN(const std::vector<std::string> views,
                   ReadTexts(fresh, "SELECT sql FROM sqlite_schema WHERE type = 'view'"));
  for (const std::string& sql : views) RETURN_IF_ERROR(db.Execute(sql));
  return absl::OkStatus();
}

absl::Status Migrate(Database& db, int from, absl::Time now) {
  ASSIGN_OR_RETURN(const std::vector<std::string> views,
                   ReadTexts(db, "SELECT name FROM sqlite_schema WHERE type = 'view'"));
  for (const std::string& name : views) {
    RETURN_IF_ERROR(db.Execute(absl::StrCat("DROP VIEW ", name)));
  }
  for (int version = from + 1; version <= kSchemaVersion; ++version) {
    RETURN_IF_ERROR(db.Execute(kMigrations[version - 2]));
    RETURN_IF_ERROR(NoteVersion(db, version, now));
  }
  return RemakeViews(db);
}

}  // namespace

absl::StatusOr<int> ReadSchemaVersion(Database& db, const std::string& path) {
  const absl::StatusOr<int64_t> application = ReadInt(db, "PRAGMA application_id");
  if (!application.ok()) return CannotRead(db, path, application.status());
  const absl::StatusOr<int64_t> count = ReadInt(db, "SELECT count(*) FROM sqlite_schema");
  if (!count.ok()) return CannotRead(db, path, count.status());
  const int64_t objects = *count;
  if (*application == 0 && objects == 0) return 0;
  if (*application != kApplicationId) {
    return absl::FailedPreconditionError(absl::StrCat(
        path, " is a database, but not one of Saffron's: name another file with --db"));
  }
  const absl::StatusOr<int64_t> newest = ReadInt(db, "SELECT max(version) FROM schema_version");
  if (!newest.ok()) return CannotRead(db, path, newest.status());
  const int64_t version = *newest;
  if (version > kSchemaVersion) {
    return absl::FailedPreconditionError(
        absl::StrCat(path, " is of schema version ", version, ", newer than version ",
                     kSchemaVersion, " that this saffron (", SAFFRON_VERSION,
                     ") knows: use the saffron that wrote it, or a newer one"));
  }
  return static_cast<int>(version);
}

absl::Status PrepareSchema(Database& db, const std::string& path, absl::Time now) {
  ASSIGN_OR_RETURN(const int version, ReadSchemaVersion(db, path));
  if (version == kSchemaVersion) return absl::OkStatus();
  RETURN_IF_ERROR(db.Execute("BEGIN IMMEDIATE"));
  absl::Status status = version == 0 ? Create(db, now) : Migrate(db, version, now);
  if (status.ok()) status = db.Execute("COMMIT");
  if (!status.ok() && sqlite3_get_autocommit(db.get()) == 0) (void)db.Execute("ROLLBACK");
  return status;
}

absl::Status CheckReadable(Database& db, const std::string& path) {
  ASSIGN_OR_RETURN(const int version, ReadSchemaVersion(db, path));
  if (version == kSchemaVersion) return absl::OkStatus();
  if (version == 0) {
    return absl::FailedPreconditionError(absl::StrCat(path, ": empty, not a Saffron database"));
  }
  return absl::FailedPreconditionError(
      absl::StrCat(path, " is of schema version ", version, ", older than version ", kSchemaVersion,
                   " that this saffron (", SAFFRON_VERSION,
                   ") reads: `saffron serve` or `saffron run` on it brings it up to date"));
}

}  // namespace saffron
