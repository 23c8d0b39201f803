#include "core/solve/cache_files.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <string_view>
#include <system_error>
#include <tuple>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "core/base/digest.h"

namespace saffron {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kMagic = "SAFSTAT1";
constexpr char kSuffix[] = ".stat";
constexpr char kPartial[] = ".partial";

struct FileHeader {
  std::array<char, 8> magic;
  uint64_t key_bytes, payload_bytes;
  std::array<char, 64> sha256;  // hex, of key then payload
};

std::string DigestOf(std::string_view key, absl::Span<const char> payload) {
  Sha256 digest;
  digest.Update(key);
  digest.Update(std::string_view(payload.data(), payload.size()));
  return digest.FinishHex();
}

std::string_view TextOf(const std::array<char, 64>& sha256) {
  return std::string_view(sha256.data(), sha256.size());
}

// Whether a file of `bytes` with this header can hold `key`; its payload is the rest.
bool HeaderFits(const FileHeader& header, const std::string& key, int64_t bytes) {
  return std::string_view(header.magic.data(), header.magic.size()) == kMagic &&
         header.key_bytes == key.size() &&
         bytes >= static_cast<int64_t>(sizeof header + key.size()) &&
         header.payload_bytes == bytes - sizeof header - key.size();
}

// Reads or writes all of `bytes`; false on any error or early end.
bool ReadAll(int fd, char* data, size_t bytes) {
  while (bytes > 0) {
    const ssize_t n = read(fd, data, bytes);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return false;
    data += n;
    bytes -= n;
  }
  return true;
}
bool WriteAll(int fd, const char* data, size_t bytes) {
  while (bytes > 0) {
    const ssize_t n = write(fd, data, bytes);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return false;
    data += n;
    bytes -= n;
  }
  return true;
}

// The payload when the open file is whole and holds `key`.
std::shared_ptr<const std::vector<char>> ReadChecked(int fd, const std::string& key) {
  struct stat info = {};
  FileHeader header = {};
  if (fstat(fd, &info) != 0 || !ReadAll(fd, reinterpret_cast<char*>(&header), sizeof header) ||
      !HeaderFits(header, key, info.st_size)) {
    return nullptr;
  }
  std::string stored_key(header.key_bytes, '\0');
  auto payload = std::make_shared<std::vector<char>>(header.payload_bytes);
  if (!ReadAll(fd, stored_key.data(), stored_key.size()) || stored_key != key ||
      !ReadAll(fd, payload->data(), payload->size()) ||
      DigestOf(key, *payload) != TextOf(header.sha256)) {
    return nullptr;
  }
  return payload;
}

bool WriteFile(const std::string& path, const std::string& key, const std::vector<char>& payload) {
  FileHeader header = {};
  std::copy(kMagic.begin(), kMagic.end(), header.magic.begin());
  header.key_bytes = key.size();
  header.payload_bytes = payload.size();
  const std::string digest = DigestOf(key, payload);
  std::copy(digest.begin(), digest.end(), header.sha256.begin());
  const int fd = open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
  if (fd < 0) return false;
  const bool written = WriteAll(fd, reinterpret_cast<const char*>(&header), sizeof header) &&
                       WriteAll(fd, key.data(), key.size()) &&
                       WriteAll(fd, payload.data(), payload.size());
  // Not synced: a file lost or torn by a power cut is only computed again.
  return close(fd) == 0 && written;
}

}  // namespace

std::string CacheFiles::PathOf(const std::string& key) const {
  return absl::StrCat(dir_, "/", Sha256Hex(key), kSuffix);
}

std::shared_ptr<const std::vector<char>> CacheFiles::Read(const std::string& key,
                                                          bool* damaged) const {
  *damaged = false;
  if (dir_.empty()) return nullptr;
  const std::string path = PathOf(key);
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return nullptr;
  auto payload = ReadChecked(fd, key);
  futimens(fd, nullptr);  // The access time that Trim goes by.
  close(fd);
  if (payload == nullptr) {
    *damaged = true;
    unlink(path.c_str());
  }
  return payload;
}

bool CacheFiles::Map(const std::string& key, absl::Span<const char>* payload,
                     std::shared_ptr<const void>* owner, bool* damaged) const {
  *damaged = false;
  if (dir_.empty()) return false;
  const std::string path = PathOf(key);
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return false;
  struct stat info = {};
  void* start = MAP_FAILED;
  if (fstat(fd, &info) == 0 && info.st_size >= static_cast<int64_t>(sizeof(FileHeader))) {
    // Files are replaced by rename, never written to, so a mapping stays what it was.
    start = mmap(nullptr, info.st_size, PROT_READ, MAP_SHARED | MAP_POPULATE, fd, 0);
  }
  futimens(fd, nullptr);  // The access time that Trim goes by.
  close(fd);
  if (start == MAP_FAILED) return false;
  const size_t bytes = info.st_size;
  const char* data = static_cast<const char*>(start);
  *owner = std::shared_ptr<const void>(start, [bytes](void* p) { munmap(p, bytes); });
  FileHeader header = {};
  std::memcpy(&header, data, sizeof header);
  if (HeaderFits(header, key, info.st_size)) {
    *payload = {data + sizeof header + key.size(), header.payload_bytes};
    if (std::string_view(data + sizeof header, key.size()) == key &&
        DigestOf(key, *payload) == TextOf(header.sha256)) {
      return true;
    }
  }
  owner->reset();
  *damaged = true;
  unlink(path.c_str());
  return false;
}

std::string CacheFiles::AlignedKey(const std::string& key) {
  std::string aligned = key;
  while ((sizeof(FileHeader) + aligned.size()) % 64 != 0) aligned += '/';
  return aligned;
}

void CacheFiles::Write(const std::string& key, const std::vector<char>& payload) {
  const int64_t bytes = static_cast<int64_t>(sizeof(FileHeader) + key.size() + payload.size());
  if (dir_.empty() || bytes > bytes_max_) return;
  std::error_code ignored;
  fs::create_directories(dir_, ignored);
  static std::atomic<uint64_t> serial{0};
  const std::string partial = absl::StrCat(dir_, "/", getpid(), "-", serial++, kPartial);
  const std::string path = PathOf(key);
  if (!WriteFile(partial, key, payload) || std::rename(partial.c_str(), path.c_str()) != 0) {
    unlink(partial.c_str());
    return;
  }
  std::lock_guard<std::mutex> lock(mutex_);
  headroom_ -= bytes;
  if (headroom_ < 0) Trim();
}

void CacheFiles::Trim() {
  struct File {
    fs::file_time_type used;
    std::string path;
    int64_t bytes;
  };
  std::vector<File> files;
  int64_t total = 0;
  std::error_code error;
  for (fs::directory_iterator it(dir_, error), end; !error && it != end; it.increment(error)) {
    const std::string path = it->path().string();
    std::error_code gone;  // Another process may delete files meanwhile.
    const auto used = it->last_write_time(gone);
    const auto bytes = it->file_size(gone);
    if (gone) continue;
    if (absl::EndsWith(path, kPartial)) {
      // Left by a process that died in the middle of writing.
      if (fs::file_time_type::clock::now() - used > std::chrono::hours(1)) fs::remove(path, gone);
      continue;
    }
    if (!absl::EndsWith(path, kSuffix)) continue;
    files.push_back({used, path, static_cast<int64_t>(bytes)});
    total += files.back().bytes;
  }
  std::sort(files.begin(), files.end(), [](const File& a, const File& b) {
    return std::tie(a.used, a.path) < std::tie(b.used, b.path);
  });
  for (const File& file : files) {
    if (total <= bytes_max_) break;
    unlink(file.path.c_str());
    total -= file.bytes;
  }
  // Half of what is free, since other processes write too; when little is free, look at every
  // write.
  headroom_ = (bytes_max_ - total) / 2;
}

}  // namespace saffron
