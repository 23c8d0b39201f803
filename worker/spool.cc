#include "worker/spool.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <string_view>

#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "core/base/digest.h"
#include "core/base/status_macros.h"
#include "worker/owned_file.h"

namespace saffron {
namespace {

constexpr size_t kHeaderBytes = 12;
constexpr size_t kRecordBytesMax = 64u << 20;
// Delivered records are dropped from the file when it grows beyond this.
constexpr int64_t kRewriteBytes = 8 << 20;

std::string Checksum(std::string_view payload) {
  return absl::HexStringToBytes(Sha256Hex(payload).substr(0, 16));
}

std::string Encode(std::string_view payload) {
  std::string record(4, '\0');
  for (int i = 0; i < 4; ++i) record[i] = static_cast<char>(payload.size() >> (8 * i));
  absl::StrAppend(&record, Checksum(payload), absl::string_view(payload.data(), payload.size()));
  return record;
}

absl::Status Failure(const std::string& what, const std::string& path) {
  return absl::UnavailableError(absl::StrCat(what, " ", path, ": ", std::strerror(errno)));
}

absl::StatusOr<std::string> ReadAll(int fd, const std::string& path) {
  std::string bytes;
  char chunk[65536];
  for (off_t at = 0;;) {
    const ssize_t n = pread(fd, chunk, sizeof(chunk), at);
    if (n < 0) return Failure("cannot read", path);
    if (n == 0) return bytes;
    bytes.append(chunk, static_cast<size_t>(n));
    at += n;
  }
}

}  // namespace

std::vector<v1::SpoolRecord> ReadSpool(std::string_view bytes) {
  std::vector<v1::SpoolRecord> records;
  while (bytes.size() >= kHeaderBytes) {
    size_t size = 0;
    for (int i = 0; i < 4; ++i) size |= size_t{static_cast<unsigned char>(bytes[i])} << (8 * i);
    if (size > kRecordBytesMax || bytes.size() < kHeaderBytes + size) break;
    const std::string_view payload = bytes.substr(kHeaderBytes, size);
    v1::SpoolRecord record;
    if (Checksum(payload) != bytes.substr(4, 8) ||
        !record.ParseFromArray(payload.data(), static_cast<int>(size))) {
      break;
    }
    records.push_back(std::move(record));
    bytes.remove_prefix(kHeaderBytes + size);
  }
  return records;
}

std::string Spool::DefaultDir() {
  if (const char* state = std::getenv("XDG_STATE_HOME"); state != nullptr && *state != '\0') {
    return absl::StrCat(state, "/saffron/spool");
  }
  const char* home = std::getenv("HOME");
  return absl::StrCat(home == nullptr ? "." : home, "/.local/state/saffron/spool");
}

Spool::Spool(std::string dir, std::string worker_id)
    : dir_(std::move(dir)), worker_id_(std::move(worker_id)) {}

Spool::~Spool() { Close(); }

std::string Spool::Path() const {
  return absl::StrCat(dir_, "/", coordinator_id_, ".", worker_id_, ".spool");
}

void Spool::Close() {
  if (fd_ >= 0) {
    if (outstanding_.empty()) unlink(Path().c_str());
    close(fd_);
  }
  fd_ = -1;
  bytes_ = 0;
  outstanding_.clear();
}

absl::StatusOr<std::vector<v1::SpoolRecord>> Spool::Open(const std::string& coordinator_id) {
  std::lock_guard lock(mutex_);
  if (fd_ >= 0 && coordinator_id == coordinator_id_) return std::vector<v1::SpoolRecord>();
  if (coordinator_id.empty() || coordinator_id.find('/') != std::string::npos) {
    return absl::InvalidArgumentError(absl::StrCat("coordinator id '", coordinator_id, "'"));
  }
  Close();
  coordinator_id_ = coordinator_id;
  std::error_code error;
  std::filesystem::create_directories(dir_, error);
  fd_ = OpenOwned(Path(), O_APPEND);
  if (fd_ < 0) return Failure("cannot create", Path());

  std::vector<v1::SpoolRecord> adopted;
  for (const auto& entry : std::filesystem::directory_iterator(dir_, error)) {
    const std::string path = entry.path().string(), name = entry.path().filename().string();
    if (path == Path() || !absl::StartsWith(name, coordinator_id + ".") ||
        !absl::EndsWith(name, ".spool")) {
      continue;
    }
    const int orphan = OpenOrphan(path);
    if (orphan < 0) continue;
    const absl::StatusOr<std::string> bytes = ReadAll(orphan, path);
    absl::Status kept = bytes.status();
    for (v1::SpoolRecord& record : ReadSpool(bytes.ok() ? std::string_view(*bytes) : "")) {
      const std::string payload = record.SerializeAsString();
      kept = AppendLocked(payload, false);
      if (!kept.ok()) break;
      outstanding_[{record.result().ref().trial_id(), record.result().ref().attempt()}] = payload;
      adopted.push_back(std::move(record));
    }
    // Only now that its records are safe in our file: another crash adopts one or the other.
    if (kept.ok() && fsync(fd_) == 0) unlink(path.c_str());
    close(orphan);
  }
  return adopted;
}

absl::Status Spool::AppendLocked(const std::string& payload, bool sync) {
  if (fd_ < 0) return absl::FailedPreconditionError("the spool is not open");
  const std::string record = Encode(payload);
  const ssize_t written = write(fd_, record.data(), record.size());
  if (written != static_cast<ssize_t>(record.size())) {
    if (written < 0) return Failure("cannot write", Path());
    // A torn record would hide those after it.
    [[maybe_unused]] const int cut = ftruncate(fd_, bytes_);
    return absl::ResourceExhaustedError(absl::StrCat("no space for ", Path()));
  }
  bytes_ += written;
  if (sync && fsync(fd_) != 0) return Failure("cannot sync", Path());
  return absl::OkStatus();
}

absl::Status Spool::Append(const v1::SpoolRecord& record, bool sync) {
  std::lock_guard lock(mutex_);
  std::string payload = record.SerializeAsString();
  RETURN_IF_ERROR(AppendLocked(payload, sync));
  outstanding_[{record.result().ref().trial_id(), record.result().ref().attempt()}] =
      std::move(payload);
  return bytes_ > kRewriteBytes ? Rewrite() : absl::OkStatus();
}

absl::Status Spool::Sync() {
  std::lock_guard lock(mutex_);
  if (fd_ < 0 || outstanding_.empty() || fsync(fd_) == 0) return absl::OkStatus();
  return Failure("cannot sync", Path());
}

void Spool::Forget(const v1::AttemptRef& ref) {
  std::lock_guard lock(mutex_);
  outstanding_.erase({ref.trial_id(), ref.attempt()});
  if (fd_ >= 0 && outstanding_.empty() && bytes_ > 0 && ftruncate(fd_, 0) == 0) bytes_ = 0;
}

// Replaces the file by one with the outstanding records alone.
absl::Status Spool::Rewrite() {
  int64_t needed = 0;
  for (const auto& [key, payload] : outstanding_) needed += payload.size() + kHeaderBytes;
  if (needed > bytes_ / 2) return absl::OkStatus();  // little to gain: an outage, not a backlog
  const std::string temporary = Path() + ".new";
  const int fresh =
      open(temporary.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0600);
  if (fresh < 0) return Failure("cannot create", temporary);
  flock(fresh, LOCK_EX | LOCK_NB);
  std::string all;
  for (const auto& [key, payload] : outstanding_) all += Encode(payload);
  if (write(fresh, all.data(), all.size()) != static_cast<ssize_t>(all.size()) ||
      fsync(fresh) != 0 || rename(temporary.c_str(), Path().c_str()) != 0) {
    const absl::Status failure = Failure("cannot rewrite", Path());
    close(fresh);
    unlink(temporary.c_str());
    return failure;
  }
  close(fd_);
  fd_ = fresh;
  bytes_ = static_cast<int64_t>(all.size());
  return absl::OkStatus();
}

int64_t Spool::file_bytes() const {
  std::lock_guard lock(mutex_);
  return bytes_;
}

}  // namespace saffron
