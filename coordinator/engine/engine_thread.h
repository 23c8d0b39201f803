#pragma once
// Drives an engine on a thread of its own, in real time.

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

 private:
  void Run();

  Engine* const engine_;
  Clock* const clock_;
  std::mutex mutex_;
  std::condition_variable changed_;
  bool work_ = false, stop_ = false;  // guarded by mutex_
  std::thread thread_;
};

}  // namespace saffron
