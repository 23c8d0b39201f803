#pragma once
// The worker's side of one slot: a child process that trains (slot_server.h), started when first
// needed and again after it died.

#include <sys/types.h>

#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "saffron/v1/slot.pb.h"
#include "worker/frame.h"

namespace saffron {

enum class StopReason {
  kNone,
  kAbandoned,  // cancelled or superseded: nobody wants the result
  kPreempted,  // the worker is leaving
  kTimeout,    // over the assignment's time limit
};

class SlotProcess {
 public:
  struct Options {
    // The child's command line; it inherits the socket as file descriptor 3.
    std::vector<std::string> argv;
    // How long a trial told to stop may take before its process is killed.
    absl::Duration stop_grace = absl::Seconds(5);
  };
  explicit SlotProcess(Options options);
  ~SlotProcess();  // kills the child; Run must have returned
  SlotProcess(const SlotProcess&) = delete;
  SlotProcess& operator=(const SlotProcess&) = delete;

  struct Ended {
    v1::AttemptResult result;
    StopReason stopped = StopReason::kNone;  // why, when the attempt gave up because of a Stop
  };
  // Names the attempt that Run will run next, so that a Stop that comes before Run is not lost.
  void Prepare(const v1::AttemptRef& ref);

  // Runs the attempt named last to its end and says how it ended; a child that dies is a failure of
  // the attempt, out of memory when the kernel killed it. Measurements and checkpoints are
  // passed on as they arrive, on this thread. One thread at a time.
  struct Listener {
    std::function<void(std::vector<v1::Measurement>)> on_measurements;
    std::function<void(v1::SlotCheckpoint)> on_checkpoint = {};  // may be null
  };
  Ended Run(const v1::Assignment& assignment, const v1::SlotFiles& files, const Listener& listener);

  // Asks the attempt to give up. No effect when it is not the one named last. Any thread.
  void Stop(const v1::AttemptRef& ref, StopReason reason);

  // Ends the child and keeps it from being started again: Run returns at once. Any thread.
  void Kill();

 private:
  absl::Status Begin(const v1::Assignment& assignment, const v1::SlotFiles& files);
  void KillIfOverdue(absl::Time now);
  Ended EndedByDeath(const v1::Assignment& assignment);
  Ended EndedByStop(const v1::Assignment& assignment, StopReason reason, v1::AttemptResult result);

  // With `mutex_` held:
  absl::Status Start();
  absl::Status Order(const v1::SlotOrder& order);
  void SendStop();
  // Waits for the child that closed its socket; says what it died of.
  v1::AttemptResult Reap(const v1::AttemptRef& ref);

  const Options options_;
  std::unique_ptr<FrameReader> reader_;

  std::mutex mutex_;  // guards what follows, and writes to the socket
  int fd_ = -1;
  pid_t pid_ = -1;
  bool killed_ = false;
  v1::AttemptRef current_;
  StopReason stop_reason_ = StopReason::kNone;
  absl::Time kill_at_ = absl::InfiniteFuture();
};

}  // namespace saffron
