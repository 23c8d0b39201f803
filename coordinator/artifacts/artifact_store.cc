#include "coordinator/artifacts/artifact_store.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "core/base/digest.h"
#include "core/base/status_macros.h"
#include "core/data/files.h"

namespace saffron {
namespace {

constexpr size_t kDigestChars = 64;
constexpr size_t kCopyBytes = 1 << 20;

// Size of the regular file at `path`; -1 when there is none.
int64_t FileSize(const std::string& path) {
  struct stat info;
  if (::lstat(path.c_str(), &info) != 0 || !S_ISREG(info.st_mode)) return -1;
  return info.st_size;
}

// Not touched for a day, or not known when.
bool IsOld(const std::filesystem::path& file) {
  std::error_code error;
  const auto touched = std::filesystem::last_write_time(file, error);
  return error || std::filesystem::file_time_type::clock::now() - touched > std::chrono::hours(24);
}

absl::Status WrongDigest(const std::string& path, const ArtifactId& id, const std::string& got) {
  return absl::DataLossError(
      absl::StrCat(path, ": want bytes with the SHA-256 ", id.sha256, ", got ", got));
}

}  // namespace

absl::Status ArtifactStore::Check(const ArtifactId& id) const {
  const bool is_digest = id.sha256.size() == kDigestChars &&
                         std::all_of(id.sha256.begin(), id.sha256.end(), [](char c) {
                           return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
                         });
  if (!is_digest) {
    return absl::InvalidArgumentError("artifact: want a SHA-256 as 64 lower-case hex digits");
  }
  if (id.bytes >= 0 && id.bytes <= options_.bytes_max) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("artifact: want at most ", options_.bytes_max, " bytes, got ", id.bytes));
}

std::string ArtifactStore::PathOf(const std::string& sha256) const {
  return absl::StrCat(options_.root, "/", sha256.substr(0, 2), "/", sha256.substr(2));
}

std::string ArtifactStore::IncomingPath(const std::string& sha256) const {
  return absl::StrCat(options_.root, "/incoming/", sha256);
}

bool ArtifactStore::Has(const ArtifactId& id) const {
  return FileSize(PathOf(id.sha256)) == id.bytes;
}

bool ArtifactStore::IsLost(const ArtifactId& id) const {
  struct stat info;
  if (::lstat(PathOf(id.sha256).c_str(), &info) != 0) return errno == ENOENT || errno == ENOTDIR;
  return !S_ISREG(info.st_mode) || info.st_size != id.bytes;
}

absl::Status ArtifactStore::Place(const std::string& incoming, const ArtifactId& id) {
  const std::string path = PathOf(id.sha256);
  RETURN_IF_ERROR(MakeFolders(std::filesystem::path(path).parent_path().string()));
  if (::rename(incoming.c_str(), path.c_str()) != 0) return FileError("rename to", path, errno);
  RETURN_IF_ERROR(SyncFolderOf(path));
  return SyncFolderOf(std::filesystem::path(path).parent_path().string());
}

absl::Status ArtifactStore::Adopt(const ArtifactId& id, const std::string& path) {
  RETURN_IF_ERROR(Check(id));
  if (Has(id)) return absl::OkStatus();
  if (FileSize(path) != id.bytes) {
    return absl::NotFoundError(absl::StrCat(path, ": no file of ", id.bytes, " bytes"));
  }
  RETURN_IF_ERROR(MakeFolders(options_.root + "/incoming"));
  const std::string linked = IncomingPath(id.sha256) + ".link";
  ::unlink(linked.c_str());
  if (::link(path.c_str(), linked.c_str()) == 0) {
    // Its maker wrote it durably, and never changes a file that has its name.
    absl::StatusOr<std::string> digest = Sha256HexOfFile(linked);
    absl::Status status = digest.status();
    if (digest.ok()) {
      status = *digest == id.sha256 ? Place(linked, id) : WrongDigest(path, id, *digest);
    }
    if (!status.ok()) ::unlink(linked.c_str());
    return status;
  }
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
  if (fd < 0) return absl::NotFoundError(FileError("open", path, errno).message());
  ::unlink(IncomingPath(id.sha256).c_str());
  absl::StatusOr<std::unique_ptr<Upload>> upload = Begin(id, 0);
  absl::Status status = upload.status();
  std::vector<char> chunk(kCopyBytes);
  while (status.ok()) {
    const ssize_t got = ::read(fd, chunk.data(), chunk.size());
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) status = FileError("read", path, errno);
    if (got == 0) status = (*upload)->Finish();
    if (got <= 0) break;
    status = (*upload)->Write({chunk.data(), static_cast<size_t>(got)});
  }
  ::close(fd);
  return status;
}

int64_t ArtifactStore::Received(const ArtifactId& id) const {
  return std::max<int64_t>(0, FileSize(IncomingPath(id.sha256)));
}

absl::StatusOr<std::unique_ptr<ArtifactStore::Upload>> ArtifactStore::Begin(const ArtifactId& id,
                                                                            int64_t offset) {
  RETURN_IF_ERROR(Check(id));
  RETURN_IF_ERROR(MakeFolders(options_.root + "/incoming"));
  {
    std::lock_guard lock(mutex_);
    if (!uploading_.insert(id.sha256).second) {
      return absl::AbortedError("artifact: another upload of it is under way");
    }
  }
  const std::string path = IncomingPath(id.sha256);
  const int fd = ::open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
  const absl::Status opened = fd < 0 ? FileError("create", path, errno) : absl::OkStatus();
  std::unique_ptr<Upload> upload(new Upload(this, id, fd, offset));
  RETURN_IF_ERROR(opened);
  if (const int64_t received = Received(id); received != offset) {
    return absl::OutOfRangeError(
        absl::StrCat("artifact: want bytes from ", received, " on, got offset ", offset));
  }
  return upload;
}

ArtifactStore::Upload::~Upload() {
  if (fd_ >= 0) ::close(fd_);
  std::lock_guard lock(store_->mutex_);
  store_->uploading_.erase(id_.sha256);
}

absl::Status ArtifactStore::Upload::Write(std::string_view data) {
  if (size_ + static_cast<int64_t>(data.size()) > id_.bytes) {
    return absl::InvalidArgumentError(
        absl::StrCat("artifact: more than the ", id_.bytes, " bytes that were announced"));
  }
  while (!data.empty()) {
    const ssize_t written = ::write(fd_, data.data(), data.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return FileError("write", store_->IncomingPath(id_.sha256), errno);
    size_ += written;
    data.remove_prefix(static_cast<size_t>(written));
  }
  return absl::OkStatus();
}

absl::Status ArtifactStore::Upload::Finish() {
  const std::string path = store_->IncomingPath(id_.sha256);
  if (size_ != id_.bytes) {
    return absl::DataLossError(
        absl::StrCat("artifact: ended after ", size_, " of ", id_.bytes, " bytes"));
  }
  if (::fsync(fd_) != 0) return FileError("fsync", path, errno);
  ASSIGN_OR_RETURN(const std::string digest, Sha256HexOfFile(path));
  if (digest != id_.sha256) {
    ::unlink(path.c_str());
    return WrongDigest("artifact", id_, digest);
  }
  return store_->Place(path, id_);
}

absl::Status ArtifactStore::Delete(const std::string& sha256) {
  const std::string path = PathOf(sha256);
  if (::unlink(path.c_str()) == 0 || errno == ENOENT || errno == ENOTDIR) return absl::OkStatus();
  return FileError("delete", path, errno);
}

absl::StatusOr<int64_t> ArtifactStore::KeepOnly(const std::set<std::string>& wanted) {
  namespace fs = std::filesystem;
  int64_t deleted = 0;
  std::error_code error;
  std::vector<fs::path> files;
  for (fs::recursive_directory_iterator at(options_.root, error), end; !error && at != end;
       at.increment(error)) {
    if (at->is_regular_file(error)) files.push_back(at->path());
  }
  if (error == std::errc::no_such_file_or_directory) return 0;
  if (error) return FileError("list", options_.root, error.value());
  for (const fs::path& file : files) {
    const std::string folder = file.parent_path().filename().string();
    if (folder == "incoming" && !IsOld(file)) continue;
    if (wanted.count(folder + file.filename().string()) > 0) continue;
    if (fs::remove(file, error)) ++deleted;
  }
  return deleted;
}

}  // namespace saffron
