#pragma once
// Count statistics by content key, in memory and on disk, shared by the trials of a process and by
// the workers of a machine. A value found in the cache is bit-identical to one computed afresh.

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"

namespace saffron {

class StatisticsCache {
 public:
  struct Options {
    std::string dir;                         // empty: memory only
    int64_t memory_bytes_max = 128ll << 20;  // least recently used goes first
    int64_t disk_bytes_max = 4ll << 30;      // oldest access goes first
  };
  explicit StatisticsCache(Options options);
  ~StatisticsCache();

  // $SAFFRON_CACHE, else $XDG_CACHE_HOME/saffron, else ~/.cache/saffron.
  static std::string DefaultDir();

  using Bytes = std::shared_ptr<const std::vector<char>>;
  // Returns the value of `key` from memory or disk (checksummed; a damaged file is deleted and
  // recomputed), else calls `compute`, stores its result and returns it. Concurrent callers of one
  // process wait for the first; processes may both compute, and the files, equal, replace each
  // other by rename. A full or read-only disk only loses the caching. Errors of `compute` are
  // returned and not stored. Thread-safe.
  absl::StatusOr<Bytes> GetOrCompute(
      const std::string& key, const std::function<absl::StatusOr<std::vector<char>>()>& compute);

  // A value to be read in place. `owner` keeps `bytes`, which begin at a multiple of 8, alive.
  struct Mapped {
    absl::Span<const char> bytes;
    std::shared_ptr<const void> owner;
  };
  // As GetOrCompute, for large values: the file is mapped, so that its pages are shared by everyone
  // on the machine who maps it and are not counted against memory_bytes_max. Within a process a
  // value that is still in use counts as a memory hit. Where no file can be kept, the value stands
  // in the memory of its users. Keys are apart from those of GetOrCompute.
  absl::StatusOr<Mapped> MapOrCompute(
      const std::string& key, const std::function<absl::StatusOr<std::vector<char>>()>& compute);

  struct Counters {
    int64_t memory_hits = 0, disk_hits = 0, misses = 0, damaged = 0;
  };
  Counters counters() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace saffron
