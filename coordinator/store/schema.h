#pragma once
// Recognising, creating and migrating the results database.

#include <string>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "coordinator/store/sqlite.h"

namespace saffron {

// Newest schema this build reads and writes.
inline constexpr int kSchemaVersion = 2;
// Marks a file as ours (PRAGMA application_id): "SAFR".
inline constexpr int kApplicationId = 0x53414652;

// Text of schema.sql.
extern const char kSchemaSql[];
// Texts of migrations/002.sql, 003.sql, ...: the i-th leads from version i + 1 to i + 2. They
// change tables, indexes and triggers; views are dropped before and made anew after, from
// schema.sql. Ends with nullptr.
extern const char* const kMigrations[];

// Brings a database opened for writing to kSchemaVersion: creates everything in an empty file,
// applies the missing migrations to an older one, all in one transaction: a crash or an error
// leaves it as it was. FAILED_PRECONDITION: not a database, not Saffron's, or of a newer schema
// (names both versions).
absl::Status PrepareSchema(Database& db, const std::string& path, absl::Time now);

// The schema's version of a database of ours, 0 of an empty file. Errors as above.
absl::StatusOr<int> ReadSchemaVersion(Database& db, const std::string& path);

// For those that only read: OK iff the database is of kSchemaVersion. FAILED_PRECONDITION as above,
// and when it is empty or older (says how to bring it up to date).
absl::Status CheckReadable(Database& db, const std::string& path);

}  // namespace saffron
