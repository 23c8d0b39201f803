#pragma once
// The files of one worker process: checkpoints on their way to the coordinator, and those that its
// attempts start from. `DIR/COORDINATOR.WORKER.checkpoints/`, locked (flock on `lock` in it) while
// the worker lives; a folder whose worker died is adopted by the next worker of the coordinator.
//
//   t12-a3-400.safetensors   what attempt 3 of trial 12 left at step 400; -best, -last,
//                            -routing: for good
//   t12-a4.resume            what attempt 4 goes on from; .init: its parent's checkpoint

#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "saffron/v1/slot.pb.h"

namespace saffron {

// A checkpoint on disk and the attempt that made it.
struct LeftBehind {
  v1::AttemptRef ref;
  v1::SlotCheckpoint checkpoint;
};

// Not thread-safe.
class CheckpointFolder {
 public:
  // `dir` is made when needed.
  CheckpointFolder(std::string dir, std::string worker_id)
      : dir_(std::move(dir)), worker_id_(std::move(worker_id)) {}
  // Removes the folder where it is empty.
  ~CheckpointFolder();
  CheckpointFolder(const CheckpointFolder&) = delete;
  CheckpointFolder& operator=(const CheckpointFolder&) = delete;

  // INVALID_ARGUMENT: an id with path characters. Errors of the disk: go on without.
  absl::Status Open(const std::string& coordinator_id);
  bool is_open() const { return lock_ >= 0; }
  bool IsOf(const std::string& coordinator_id) const { return coordinator_id == coordinator_id_; }

  // What dead workers left, moved here. Files that broke off while they were written are removed.
  std::vector<LeftBehind> Adopt();

  // For CheckpointPlan::prefix.
  std::string PrefixOf(const v1::AttemptRef& ref) const;

 private:
  std::string Path() const;
  void Close();

  const std::string dir_, worker_id_;
  std::string coordinator_id_;
  int lock_ = -1;
};

}  // namespace saffron
