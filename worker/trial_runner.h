#pragma once
// Runs attempts on a fixed number of slots, first come first served. One thread and one child
// process (slot_process.h) a slot. Thread-safe.

#include <condition_variable>
#include <deque>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "saffron/v1/worker.pb.h"
#include "worker/slot_process.h"

namespace saffron {

// Hears what the slots do, on their threads. An attempt's calls come in order: FilesFor, any number
// of Measured and Saved, then one of Finished and Dropped.
class RunnerListener {
 public:
  virtual ~RunnerListener() = default;
  // The files of an attempt that is about to run. May take its time.
  virtual v1::SlotFiles FilesFor(const v1::Assignment& assignment) { return {}; }
  virtual void Saved(const v1::AttemptRef& ref, v1::SlotCheckpoint checkpoint) {}
  // Abandoned: nothing more is heard of it.
  virtual void Dropped(const v1::AttemptRef& ref) {}
  virtual void Measured(const v1::AttemptRef& ref, std::vector<v1::Measurement> measurements) = 0;
  virtual void Finished(v1::AttemptResult result) = 0;
};

class TrialRunner {
 public:
  // `listener` must outlive the runner.
  TrialRunner(int slots, const SlotProcess::Options& options, RunnerListener* listener);
  // Kills what runs; nothing is heard of it.
  ~TrialRunner();
  TrialRunner(const TrialRunner&) = delete;
  TrialRunner& operator=(const TrialRunner&) = delete;

  void Start(v1::Assignment assignment);

  // Drops the attempt, waiting or running; its Finished never comes.
  void Abandon(const v1::AttemptRef& ref);

  // Hands everything back: each attempt in hand finishes, as PREEMPTED unless it ended by itself
  // first. What is started from now on is handed back at once.
  void Preempt();

 private:
  struct Slot {
    std::unique_ptr<SlotProcess> process;
    std::thread thread;
    v1::AttemptRef current;  // trial_id 0: idle
    bool abandoned = false;
  };
  void Serve(Slot& slot);
  void HandBack(const v1::Assignment& assignment);

  RunnerListener* const listener_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<v1::Assignment> waiting_;
  bool preempting_ = false;
  bool closing_ = false;
  std::vector<std::unique_ptr<Slot>> slots_;
};

}  // namespace saffron
