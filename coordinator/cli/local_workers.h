#pragma once
// Worker processes of `saffron run`: children that live no longer than it does.

#include <sys/types.h>

#include <atomic>
#include <functional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"

namespace saffron {

// Not thread-safe: one thread, which must outlive the workers (the kernel ends them with it).
class LocalWorkers {
 public:
  // `argv`: the command line of each worker. `log` hears their messages, a line at a time.
  LocalWorkers(std::vector<std::string> argv, std::function<void(const std::string&)> log);
  ~LocalWorkers();  // kills what is left
  LocalWorkers(const LocalWorkers&) = delete;
  LocalWorkers& operator=(const LocalWorkers&) = delete;

  // UNAVAILABLE: the system starts no more processes.
  absl::Status Start(int count);
  // Reads messages; replaces workers that died. ABORTED: they keep dying.
  absl::Status Poll(absl::Time now);
  // Lets them hand back what they hold and waits for them; kills those that take longer, or all as
  // soon as `hurry` is set.
  void Stop(absl::Duration within, const std::atomic<bool>& hurry);

 private:
  void KillAll() const;
  absl::Status StartOne();
  void ReadMessages();
  bool ReapOne(int* status);

  const std::vector<std::string> argv_;
  const std::function<void(const std::string&)> log_;
  int messages_read_ = -1, messages_write_ = -1;
  std::string partial_;
  std::vector<pid_t> pids_;
  std::vector<absl::Time> deaths_;
};

}  // namespace saffron
