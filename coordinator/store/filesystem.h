#pragma once
// Where a results database is, and where it must not be: on a disk that other machines write too.

#include <cstdint>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace saffron {

// The name of a network file system by the number that statfs(2) gives it, or, for FUSE, by its
// type in /proc/self/mountinfo ("fuse.sshfs"); empty for all others.
std::string_view NetworkFilesystemName(int64_t type, std::string_view mount_type);

// FAILED_PRECONDITION when the folder of `path` is on a network file system: SQLite's write-ahead
// log needs shared memory between processes and locks that hold, and there it has neither, so that
// a database can be damaged without an error (https://www.sqlite.org/wal.html,
// https://www.sqlite.org/ howtocorrupt.html). OK when that cannot be told.
absl::Status CheckFilesystem(const std::string& path);

// Whether there is a file `path` that this process may read; false when there is none, but a folder
// that it could stand in. FAILED_PRECONDITION names the file and says why it can be no database of
// this user's: no such folder, a folder or a device itself, not permitted.
absl::StatusOr<bool> FindDatabaseFile(const std::string& path);

}  // namespace saffron
