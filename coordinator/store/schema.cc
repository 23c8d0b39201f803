#include "coordinator/store/schema.h"

#include <random>

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

// From version 0: one transaction, so that a crash leaves an empty file.
absl::Status Create(Database& db, absl::Time now) {
  RETURN_IF_ERROR(db.Execute("BEGIN IMMEDIATE"));
  const auto fill = [&]() -> absl::Status {
    RETURN_IF_ERROR(db.Execute(kSchemaSql));
    RETURN_IF_ERROR(db.Execute(absl::StrCat("PRAGMA application_id = ", kApplicationId)));
    ASSIGN_OR_RETURN(Statement version, db.Prepare("INSERT INTO schema_version VALUES (?, ?, ?)"));
    RETURN_IF_ERROR(version.Run(kSchemaVersion, absl::ToUnixMicros(now), SAFFRON_VERSION));
    ASSIGN_OR_RETURN(Statement id, db.Prepare("INSERT INTO coordinator VALUES (1, ?, ?)"));
    RETURN_IF_ERROR(id.Run(RandomId(), absl::ToUnixMicros(now)));
    return db.Execute("COMMIT");
  };
  const absl::Status status = fill();
  if (!status.ok()) (void)db.Execute("ROLLBACK");
  return status;
}

}  // namespace

absl::StatusOr<int> ReadSchemaVersion(Database& db, const std::string& path) {
  const absl::StatusOr<int64_t> application = ReadInt(db, "PRAGMA application_id");
  if (!application.ok()) {
    if (application.status().code() != absl::StatusCode::kFailedPrecondition) {
      return application.status();
    }
    return absl::FailedPreconditionError(absl::StrCat(path, " is not a database (",
                                                      std::string(application.status().message()),
                                                      "): name another file with --db"));
  }
  ASSIGN_OR_RETURN(const int64_t objects, ReadInt(db, "SELECT count(*) FROM sqlite_schema"));
  if (*application == 0 && objects == 0) return 0;
  if (*application != kApplicationId) {
    return absl::FailedPreconditionError(absl::StrCat(
        path, " is a database, but not one of Saffron's: name another file with --db"));
  }
  ASSIGN_OR_RETURN(const int64_t version, ReadInt(db, "SELECT max(version) FROM schema_version"));
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
  if (version == 0) return Create(db, now);
  return absl::OkStatus();
}

}  // namespace saffron
