#pragma once
// SIGINT, SIGTERM and SIGHUP as events on a thread, so that long-running commands can end in order.

#include <functional>
#include <thread>

#include "coordinator/cli/command.h"

namespace saffron {

// Whether SIGINT is one of them. A child process that shares its parent's terminal leaves Ctrl-C to
// the parent.
enum class Interrupts { kHandle, kIgnore };

// Blocks the signals in this thread and all that it starts. Call before the first use of gRPC,
// whose threads would otherwise receive them. SIGHUP is left alone where it is ignored (nohup).
void BlockTermination(Interrupts interrupts = Interrupts::kHandle);

// SIGUSR1 too, by which batch systems announce that a machine will be taken away. After
// BlockTermination.
void BlockPreemption();

// The process's exit code after `signal`.
ExitCode ExitCodeOfSignal(int signal);

// Calls `on_signal(signal, n)` on a thread of its own for the n-th of the signals that
// BlockTermination blocked, n = 1, 2, ...
class SignalWatcher {
 public:
  explicit SignalWatcher(std::function<void(int signal, int n)> on_signal);
  ~SignalWatcher();
  SignalWatcher(const SignalWatcher&) = delete;
  SignalWatcher& operator=(const SignalWatcher&) = delete;

 private:
  int signal_fd_, stop_fd_;
  std::thread thread_;
};

}  // namespace saffron
