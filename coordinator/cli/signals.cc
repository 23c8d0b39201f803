#include "coordinator/cli/signals.h"

#include <poll.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <utility>

namespace saffron {
namespace {

// What BlockTermination blocked.
sigset_t g_termination;

}  // namespace

void BlockTermination(Interrupts interrupts) {
  sigemptyset(&g_termination);
  sigaddset(&g_termination, SIGTERM);
  if (interrupts == Interrupts::kHandle) {
    sigaddset(&g_termination, SIGINT);
  } else {
    signal(SIGINT, SIG_IGN);
  }
  struct sigaction hangup = {};
  if (sigaction(SIGHUP, nullptr, &hangup) == 0 && hangup.sa_handler != SIG_IGN) {
    sigaddset(&g_termination, SIGHUP);
  }
  pthread_sigmask(SIG_BLOCK, &g_termination, nullptr);
}

void BlockPreemption() {
  sigaddset(&g_termination, SIGUSR1);
  pthread_sigmask(SIG_BLOCK, &g_termination, nullptr);
}

ExitCode ExitCodeOfSignal(int signal) {
  if (signal == SIGUSR1) return ExitCode::kDone;
  return signal == SIGINT ? ExitCode::kInterrupted : ExitCode::kTerminated;
}

SignalWatcher::SignalWatcher(std::function<void(int, int)> on_signal) {
  signal_fd_ = signalfd(-1, &g_termination, SFD_CLOEXEC);
  stop_fd_ = eventfd(0, EFD_CLOEXEC);
  thread_ = std::thread([this, on_signal = std::move(on_signal)] {
    for (int n = 1;;) {
      pollfd waiting[2] = {{signal_fd_, POLLIN, 0}, {stop_fd_, POLLIN, 0}};
      if (poll(waiting, 2, -1) < 0) continue;
      if (waiting[1].revents != 0) return;
      signalfd_siginfo info = {};
      if (read(signal_fd_, &info, sizeof(info)) == sizeof(info)) {
        on_signal(static_cast<int>(info.ssi_signo), n++);
      }
    }
  });
}

SignalWatcher::~SignalWatcher() {
  eventfd_write(stop_fd_, 1);
  thread_.join();
  close(signal_fd_);
  close(stop_fd_);
}

}  // namespace saffron
