#pragma once
// The disk half of the statistics cache: a directory of checksummed files, shared by processes.

#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "absl/types/span.h"

namespace saffron {

// A file holds a magic word, key and payload lengths, the SHA-256 of key and payload, key, payload,
// and is named by the SHA-256 of its key. Files appear by rename, so a reader sees all or nothing;
// a file torn by a power cut fails its checksum. Access times are kept as modification times,
// whatever the mount's atime policy. Every failure only loses caching. Thread-safe.
class CacheFiles {
 public:
  // An empty `dir` stores nothing. The directory is made when first written to.
  CacheFiles(std::string dir, int64_t bytes_max) : dir_(std::move(dir)), bytes_max_(bytes_max) {}

  // The payload of `key`, or null. A damaged file is deleted and reported.
  std::shared_ptr<const std::vector<char>> Read(const std::string& key, bool* damaged) const;
  // The payload in place: read-only pages that all who map the file share, until `owner` goes.
  // False where Read gives null.
  bool Map(const std::string& key, absl::Span<const char>* payload,
           std::shared_ptr<const void>* owner, bool* damaged) const;
  // `key`, lengthened so that the payload of its file begins at a multiple of 64 bytes.
  static std::string AlignedKey(const std::string& key);
  // Stores a payload, then deletes the files least recently used beyond `bytes_max`.
  void Write(const std::string& key, const std::vector<char>& payload);

 private:
  std::string PathOf(const std::string& key) const;
  void Trim();

  const std::string dir_;
  const int64_t bytes_max_;
  std::mutex mutex_;
  int64_t headroom_ = 0;  // bytes that may be written before the directory is looked over again
};

}  // namespace saffron
