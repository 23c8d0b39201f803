#pragma once
// Copying a results database while a coordinator writes it.

#include <cstdint>
#include <functional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace saffron {

struct BackupOptions {
  std::string from, to;
  bool overwrite = false;
  // Called now and then with the pages copied and all of them.
  std::function<void(int64_t, int64_t)> on_progress = {};
};

// Copies the database as it is at one moment, whatever is committed meanwhile (SQLite's online
// backup under a read transaction: the writer is not held up, though its log cannot shrink until
// the copy is done), checks the copy, and only then gives it its name, durably. Returns its bytes.
// On an error there is no file `to`, or the old one still.
//
// NOT_FOUND: no database `from`. ALREADY_EXISTS: `to`, and not `overwrite`. FAILED_PRECONDITION:
// `from` is not a database of Saffron's, or is `to` itself. DATA_LOSS: the copy, so probably the
// original, is damaged. RESOURCE_EXHAUSTED: no room.
// FAILED_PRECONDITION also where CheckOutsideDatabase says so.
absl::StatusOr<int64_t> BackupDatabase(const BackupOptions& options);

// FAILED_PRECONDITION when a file `to` would take the place of the database, of a file that stands
// beside it (its log, its lock), or of one among its artifacts. Neither need exist.
absl::Status CheckOutsideDatabase(const std::string& to, const std::string& database);

}  // namespace saffron
