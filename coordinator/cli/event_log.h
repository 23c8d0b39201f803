#pragma once
// The events of a results database as lines of JSON on stderr, as they are committed.

#include <condition_variable>
#include <mutex>
#include <string>
#include <thread>

namespace saffron {

class EventLog {
 public:
  // Begins with the next event. Reads the database on a thread of its own, so that it never holds
  // the coordinator up; a line comes within half a second of its commit.
  explicit EventLog(const std::string& database);
  // Prints what is left.
  ~EventLog();

 private:
  void Run(const std::string& database);

  std::mutex mutex_;
  std::condition_variable changed_;
  bool stop_ = false;  // guarded by mutex_
  std::thread thread_;
};

}  // namespace saffron
