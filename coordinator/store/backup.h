#pragma once
// Copying a results database while a coordinator writes it.

#include <cstdint>
#include <functional>
#include <string>

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
absl::StatusOr<int64_t> BackupDatabase(const BackupOptions& options);

}  // namespace saffron
