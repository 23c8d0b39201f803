#pragma once
// Recognising, creating and migrating the results database.

#include <string>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "coordinator/store/sqlite.h"

namespace saffron {

// Newest schema this build reads and writes.
inline constexpr int kSchemaVersion = 1;
// Marks a file as ours (PRAGMA application_id): "SAFR".
inline constexpr int kApplicationId = 0x53414652;

// Text of schema.sql.
extern const char kSchemaSql[];

// Brings a database opened for writing to kSchemaVersion: creates everything in an empty file,
// applies the missing migrations to an older one, each in one transaction. FAILED_PRECONDITION: not
// a database, not Saffron's, or of a newer schema (names both versions).
absl::Status PrepareSchema(Database& db, const std::string& path, absl::Time now);

// The schema's version of a database of ours, 0 of an empty file. Errors as above.
absl::StatusOr<int> ReadSchemaVersion(Database& db, const std::string& path);

}  // namespace saffron
