#include "core/data/files.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <filesystem>
#include <system_error>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/base/digest.h"
#include "core/base/status_macros.h"

namespace saffron {
namespace {

class Descriptor {
 public:
  explicit Descriptor(int fd) : fd_(fd) {}
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  ~Descriptor() {
    if (fd_ >= 0) ::close(fd_);
  }
  int get() const { return fd_; }

 private:
  int fd_;
};

int OpenRetrying(const std::string& path, int flags, mode_t mode = 0) {
  int fd;
  do {
    fd = ::open(path.c_str(), flags | O_CLOEXEC, mode);
  } while (fd < 0 && errno == EINTR);
  return fd;
}

absl::Status WriteAll(int fd, std::string_view bytes, const std::string& path) {
  while (!bytes.empty()) {
    const ssize_t written = ::write(fd, bytes.data(), bytes.size());
    if (written < 0) {
      if (errno == EINTR) continue;
      return FileError("write", path, errno);
    }
    bytes.remove_prefix(written);
  }
  return absl::OkStatus();
}

absl::Status WriteNew(const std::string& path, const std::vector<std::string_view>& parts,
                      bool durably) {
  const Descriptor file(OpenRetrying(path, O_WRONLY | O_CREAT | O_EXCL, 0666));
  if (file.get() < 0) return FileError("create", path, errno);
  for (const std::string_view part : parts) RETURN_IF_ERROR(WriteAll(file.get(), part, path));
  if (durably && ::fsync(file.get()) != 0) return FileError("fsync", path, errno);
  return absl::OkStatus();
}

absl::Status WriteThenRename(const std::string& path, const std::vector<std::string_view>& parts,
                             bool durably) {
  static std::atomic<uint64_t> calls{0};
  const std::string temporary =
      absl::StrCat(path, ".", ::getpid(), ".", calls.fetch_add(1), ".tmp");
  absl::Status status = WriteNew(temporary, parts, durably);
  if (status.ok() && ::rename(temporary.c_str(), path.c_str()) != 0) {
    status = FileError("rename to", path, errno);
  }
  if (!status.ok()) ::unlink(temporary.c_str());
  return status;
}

// The size of the regular file behind `fd`.
absl::StatusOr<int64_t> RegularFileSize(int fd, const std::string& path) {
  struct stat info;
  if (::fstat(fd, &info) != 0) return FileError("stat", path, errno);
  if (S_ISDIR(info.st_mode)) {
    return absl::InvalidArgumentError(absl::StrCat(path, ": is a folder, want a file"));
  }
  if (!S_ISREG(info.st_mode)) {
    return absl::InvalidArgumentError(absl::StrCat(path, ": is not a regular file"));
  }
  return static_cast<int64_t>(info.st_size);
}

}  // namespace

absl::Status FileError(std::string_view what, const std::string& path, int error) {
  const std::string message =
      absl::StrCat(path, ": cannot ", std::string(what), ": ", ::strerrordesc_np(error));
  switch (error) {
    case ENOENT:
    case ENOTDIR:
      return absl::NotFoundError(message);
    case EACCES:
    case EPERM:
    case EROFS:
      return absl::PermissionDeniedError(message);
    case ENOSPC:
    case EDQUOT:
      return absl::ResourceExhaustedError(message);
    default:
      return absl::UnavailableError(message);
  }
}

absl::Status WriteFileAtomically(const std::string& path,
                                 const std::vector<std::string_view>& parts) {
  return WriteThenRename(path, parts, /*durably=*/false);
}

absl::Status WriteFileDurably(const std::string& path, const std::vector<std::string_view>& parts) {
  RETURN_IF_ERROR(WriteThenRename(path, parts, /*durably=*/true));
  return SyncFolderOf(path);
}

absl::Status SyncFolderOf(const std::string& path) {
  const std::filesystem::path parent = std::filesystem::path(path).parent_path();
  const std::string folder = parent.empty() ? "." : parent.string();
  const Descriptor descriptor(OpenRetrying(folder, O_RDONLY | O_DIRECTORY));
  if (descriptor.get() < 0) return FileError("open", folder, errno);
  // Some file systems cannot, and say so.
  if (::fsync(descriptor.get()) != 0 && errno != EINVAL && errno != ENOTSUP) {
    return FileError("fsync", folder, errno);
  }
  return absl::OkStatus();
}

absl::StatusOr<std::string> ReadWholeFile(const std::string& path) {
  // O_NONBLOCK: opening a FIFO must not wait for a writer.
  const Descriptor file(OpenRetrying(path, O_RDONLY | O_NONBLOCK));
  if (file.get() < 0) return FileError("open", path, errno);
  ASSIGN_OR_RETURN(const int64_t size, RegularFileSize(file.get(), path));
  std::string bytes(size, '\0');
  size_t filled = 0;
  while (filled < bytes.size()) {
    const ssize_t got = ::read(file.get(), bytes.data() + filled, bytes.size() - filled);
    if (got < 0) {
      if (errno == EINTR) continue;
      return FileError("read", path, errno);
    }
    if (got == 0) break;  // Shortened while we read it.
    filled += got;
  }
  bytes.resize(filled);
  return bytes;
}

absl::Status WriteSealedFile(const std::string& path, std::string_view content) {
  const std::string seal = Sha256Hex(content);
  return WriteFileAtomically(path, {content, seal});
}

absl::StatusOr<std::string> ReadSealedFile(const std::string& path) {
  ASSIGN_OR_RETURN(std::string file, ReadWholeFile(path));
  constexpr size_t kSealBytes = 64;
  const size_t content = file.size() - std::min(file.size(), kSealBytes);
  const std::string seal = file.substr(content);
  file.resize(content);
  if (Sha256Hex(file) != seal) {
    return absl::DataLossError(absl::StrCat(path, ": is damaged (its digest does not hold)"));
  }
  return file;
}

absl::Status CheckTarget(const std::string& from, std::string_view whose, const std::string& to,
                         bool overwrite) {
  namespace fs = std::filesystem;
  std::error_code error;
  if (!fs::exists(to, error)) return absl::OkStatus();
  if (fs::equivalent(from, to, error)) {
    return absl::FailedPreconditionError(
        absl::StrCat(to, " is ", std::string(whose), " itself: name another file"));
  }
  if (fs::is_directory(to, error)) {
    return absl::FailedPreconditionError(absl::StrCat(to, " is a folder: name a file"));
  }
  if (overwrite) return absl::OkStatus();
  return absl::AlreadyExistsError(absl::StrCat(to, " exists: name another file, or say --force"));
}

absl::Status MakeFolders(const std::string& path) {
  std::error_code error;
  std::filesystem::create_directories(path, error);
  if (error) return FileError("create folder", path, error.value());
  return absl::OkStatus();
}

absl::StatusOr<FileLock> FileLock::Acquire(const std::string& path) {
  const int fd = OpenRetrying(path, O_RDWR | O_CREAT, 0666);
  if (fd < 0) return FileError("create", path, errno);
  while (::flock(fd, LOCK_EX) != 0) {
    if (errno == EINTR) continue;
    const int error = errno;
    ::close(fd);
    return FileError("lock", path, error);
  }
  return FileLock(fd);
}

FileLock::FileLock(FileLock&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}

FileLock::~FileLock() {
  if (fd_ >= 0) ::close(fd_);
}

}  // namespace saffron
