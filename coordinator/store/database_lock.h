#pragma once
// One live coordinator a database: an advisory lock (flock) on `PATH.lock`. The kernel drops it
// with the process that holds it, kill -9 included, so a lock that is held has a live owner. It is
// not taken on the database itself, whose own locks SQLite would lose when another descriptor of it
// is closed.

#include <string>

#include "absl/status/statusor.h"

namespace saffron {

class DatabaseLock {
 public:
  // FAILED_PRECONDITION when another process holds it, naming that process as it named itself;
  // UNAVAILABLE when the file cannot be made or locked. `owner` describes this process.
  static absl::StatusOr<DatabaseLock> Take(const std::string& path, const std::string& owner);

  DatabaseLock(DatabaseLock&& other) noexcept;
  DatabaseLock& operator=(DatabaseLock&& other) noexcept;
  ~DatabaseLock();

 private:
  explicit DatabaseLock(int descriptor) : descriptor_(descriptor) {}
  int descriptor_;
};

}  // namespace saffron
