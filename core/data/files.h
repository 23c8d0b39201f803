#pragma once
// Files as the data room needs them: written so that a reader sees all of a file or none of it,
// even after a power cut, and read whole. Statuses carry the path and the system's reason.

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace saffron {

// The status of a failed system call `what` ("write") on `path`: ENOENT is NOT_FOUND; EACCES, EPERM
// and EROFS PERMISSION_DENIED; ENOSPC and EDQUOT RESOURCE_EXHAUSTED; others UNAVAILABLE.
absl::Status FileError(std::string_view what, const std::string& path, int error);

// Makes `path` hold `parts` in order: written beside it under a name of this process and call, then
// renamed, so that a reader sees the old file or the new one. On error no trace is left.
absl::Status WriteFileAtomically(const std::string& path,
                                 const std::vector<std::string_view>& parts);

// The same, fsynced with its folder: once this returns, no power cut loses it.
absl::Status WriteFileDurably(const std::string& path, const std::vector<std::string_view>& parts);

// Makes the names in the folder that holds `path` outlast a power cut, where the file system can.
absl::Status SyncFolderOf(const std::string& path);

// All bytes of a regular file. INVALID_ARGUMENT when it is something else (a folder, a device).
absl::StatusOr<std::string> ReadWholeFile(const std::string& path);

// Files that carry the SHA-256 of their content (in hex, at the end), so that damage is noticed,
// that of a power cut included: they are written atomically, not durably. Reading returns the
// content, or DATA_LOSS when the digest does not hold.
absl::Status WriteSealedFile(const std::string& path, std::string_view content);
absl::StatusOr<std::string> ReadSealedFile(const std::string& path);

absl::Status MakeFolders(const std::string& path);

// Whether `to` may be written from the file `from`, which is `whose` ("the database"):
// FAILED_PRECONDITION when it is that file or a folder, ALREADY_EXISTS when it exists and
// `overwrite` is not set.
absl::Status CheckTarget(const std::string& from, std::string_view whose, const std::string& to,
                         bool overwrite);

// Holds an exclusive advisory lock on `path` (made if missing) against other processes and threads,
// from Acquire, which waits, until destruction. The kernel frees it when its holder dies. `path`
// itself stays: removing it would let two holders in.
class FileLock {
 public:
  static absl::StatusOr<FileLock> Acquire(const std::string& path);
  FileLock(FileLock&& other) noexcept;
  FileLock& operator=(FileLock&&) = delete;
  ~FileLock();

 private:
  explicit FileLock(int fd) : fd_(fd) {}
  int fd_;
};

}  // namespace saffron
