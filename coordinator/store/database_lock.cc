#include "coordinator/store/database_lock.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"

namespace saffron {

absl::StatusOr<DatabaseLock> DatabaseLock::Take(const std::string& path, const std::string& owner) {
  const int descriptor = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666);
  if (descriptor < 0) {
    return absl::FailedPreconditionError(
        absl::StrCat("cannot open the lock file ", path, ": ", strerror(errno)));
  }
  DatabaseLock lock(descriptor);
  if (::flock(descriptor, LOCK_EX | LOCK_NB) != 0) {
    if (errno != EWOULDBLOCK) {
      return absl::FailedPreconditionError(
          absl::StrCat("cannot lock ", path, ": ", strerror(errno)));
    }
    char text[200] = {};
    const ssize_t n = ::pread(descriptor, text, sizeof(text) - 1, 0);
    const std::string holder(absl::StripSuffix(absl::string_view(text, n > 0 ? n : 0), "\n"));
    return absl::FailedPreconditionError(
        absl::StrCat("another coordinator is running on this database",
                     holder.empty() ? "" : absl::StrCat(": ", holder), " (it holds ", path, ")"));
  }
  // For people only: a full disk must not stop a coordinator from starting to say so.
  if (::ftruncate(descriptor, 0) == 0) {
    const std::string line = owner + "\n";
    (void)!::pwrite(descriptor, line.data(), line.size(), 0);
  }
  return lock;
}

DatabaseLock::DatabaseLock(DatabaseLock&& other) noexcept
    : descriptor_(std::exchange(other.descriptor_, -1)) {}
DatabaseLock& DatabaseLock::operator=(DatabaseLock&& other) noexcept {
  std::swap(descriptor_, other.descriptor_);
  return *this;
}
DatabaseLock::~DatabaseLock() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

}  // namespace saffron
