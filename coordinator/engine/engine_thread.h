#pragma once
// Drives an engine on a thread of its own, in real time.

#include <array>
#include <condition_variable>
#include <mutex>
#include <thread>

#include "coordinator/engine/clock.h"
#include "coordinator/engine/engine.h"

namespace saffron {

class EngineThread {
 public:
  // Both must outlive it. Starts at once.
  EngineThread(Engine* engine, Clock* clock);
  // Stops.
  ~EngineThread();

  // Handles what has arrived, then shuts the engine down. Idempotent.
  void Stop();

  // How long the engine took for a batch of calls, its commit included: every call waits for that.
  struct BatchTimes {
    // Batches that took at most so many seconds; the last bucket has no bound.
    static constexpr std::array<double, 8> kBounds = {0.0003, 0.001, 0.003, 0.01,
                                                      0.03,   0.1,   0.3,   1};
    std::array<int64_t, kBounds.size() + 1> counts = {};
    double sum_seconds = 0;
  };
  BatchTimes batch_times() const;  // any thread

 private:
  void Run();

  Engine* const engine_;
  Clock* const clock_;
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  bool work_ = false, stop_ = false;  // guarded by mutex_
  BatchTimes times_;                  // guarded by mutex_
  std::thread thread_;
};

}  // namespace saffron
