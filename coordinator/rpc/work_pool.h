#pragma once
// A few threads for what may block: expanding sweeps, reading the database. Handlers of calls must
// not.

#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace saffron {

class WorkPool {
 public:
  WorkPool(int threads, size_t waiting_max);
  // Stops.
  ~WorkPool();

  // False when so much is waiting that the caller should come back later, or after Stop.
  bool Post(std::function<void()> work);
  // Finishes what was taken in. Idempotent.
  void Stop();

 private:
  void Run();

  const size_t waiting_max_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::function<void()>> waiting_;  // guarded by mutex_
  bool stop_ = false;                          // guarded by mutex_
  std::vector<std::thread> threads_;
};

}  // namespace saffron
