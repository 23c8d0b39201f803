#pragma once
// Finished attempts on disk until a coordinator has them: a worker killed during an outage loses
// what ran, not what had finished.
//
// One file a worker process and coordinator, `COORDINATOR.WORKER.spool`, locked (flock) while its
// worker lives. A file whose worker died is adopted by the next worker of the same coordinator.
// Record: length (4 bytes, little-endian), the first 8 bytes of the payload's SHA-256, the payload
// (a SpoolRecord). Reading stops at the first record that is cut short or damaged.

#include <map>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "saffron/v1/slot.pb.h"

namespace saffron {

// Thread-safe.
class Spool {
 public:
  // $XDG_STATE_HOME/saffron/spool, else ~/.local/state/saffron/spool.
  static std::string DefaultDir();

  // `dir` is created when first written to.
  Spool(std::string dir, std::string worker_id);
  // Leaves the file where it holds anything, for another worker to deliver.
  ~Spool();
  Spool(const Spool&) = delete;
  Spool& operator=(const Spool&) = delete;

  // From now on for this coordinator (path characters are refused). What was kept for another one
  // stays on disk. Takes over the files of dead workers and returns their records.
  // Errors are of the disk: the worker goes on without.
  absl::StatusOr<std::vector<v1::SpoolRecord>> Open(const std::string& coordinator_id);

  // Survives the process at once, and the machine when `sync`. FAILED_PRECONDITION before Open.
  absl::Status Append(const v1::SpoolRecord& record, bool sync);
  absl::Status Sync();
  // Delivered: need not be kept.
  void Forget(const v1::AttemptRef& ref);

  int64_t file_bytes() const;

 private:
  using Key = std::pair<int64_t, int32_t>;
  absl::Status AppendLocked(const std::string& payload, bool sync);
  absl::Status Rewrite();
  void Close();
  std::string Path() const;

  const std::string dir_, worker_id_;
  mutable std::mutex mutex_;
  std::string coordinator_id_;
  int fd_ = -1;
  int64_t bytes_ = 0;
  std::map<Key, std::string> outstanding_;  // serialized
};

// The records of a spool file, up to the first damaged one.
std::vector<v1::SpoolRecord> ReadSpool(std::string_view bytes);

}  // namespace saffron
