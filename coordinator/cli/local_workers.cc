#include "coordinator/cli/local_workers.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "core/base/status_macros.h"

namespace saffron {
namespace {

// More deaths than this within kDeathsWithin, and something is wrong that restarting will not cure.
constexpr size_t kDeathsMax = 10;
constexpr absl::Duration kDeathsWithin = absl::Seconds(30);

std::string HowItEnded(int status) {
  if (WIFSIGNALED(status)) {
    return absl::StrCat("died of signal ", WTERMSIG(status), " (", strsignal(WTERMSIG(status)),
                        ")");
  }
  return absl::StrCat("ended with exit code ", WEXITSTATUS(status));
}

}  // namespace

LocalWorkers::LocalWorkers(std::vector<std::string> argv,
                           std::function<void(const std::string&)> log)
    : argv_(std::move(argv)), log_(std::move(log)) {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) == 0) {
    messages_read_ = ends[0];
    messages_write_ = ends[1];
    fcntl(messages_read_, F_SETFL, O_NONBLOCK);
  }
}

LocalWorkers::~LocalWorkers() {
  KillAll();
  for (const pid_t pid : pids_) waitpid(pid, nullptr, 0);
  ReadMessages();
  if (messages_read_ >= 0) close(messages_read_);
  if (messages_write_ >= 0) close(messages_write_);
}

absl::Status LocalWorkers::StartOne() {
  std::vector<char*> arguments;
  for (const std::string& argument : argv_)
    arguments.push_back(const_cast<char*>(argument.c_str()));
  arguments.push_back(nullptr);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
  if (messages_write_ >= 0) {
    posix_spawn_file_actions_adddup2(&actions, messages_write_, STDOUT_FILENO);
    posix_spawn_file_actions_adddup2(&actions, messages_write_, STDERR_FILENO);
  }
  pid_t pid = -1;
  const int error = posix_spawn(&pid, arguments[0], &actions, nullptr, arguments.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  if (error != 0) {
    return absl::UnavailableError(
        absl::StrCat("cannot start a worker (", argv_[0], "): ", strerror(error)));
  }
  pids_.push_back(pid);
  return absl::OkStatus();
}

absl::Status LocalWorkers::Start(int count) {
  for (int i = 0; i < count; ++i) RETURN_IF_ERROR(StartOne());
  return absl::OkStatus();
}

void LocalWorkers::ReadMessages() {
  char chunk[4096];
  for (ssize_t n; messages_read_ >= 0 && (n = read(messages_read_, chunk, sizeof(chunk))) > 0;) {
    partial_.append(chunk, static_cast<size_t>(n));
    for (size_t end; (end = partial_.find('\n')) != std::string::npos; partial_.erase(0, end + 1)) {
      std::string line = partial_.substr(0, end);
      if (absl::StartsWith(line, "saffron: ")) line.erase(0, 9);
      log_(line);
    }
  }
}

bool LocalWorkers::ReapOne(int* status) {
  for (auto pid = pids_.begin(); pid != pids_.end(); ++pid) {
    if (waitpid(*pid, status, WNOHANG) != *pid) continue;
    pids_.erase(pid);
    return true;
  }
  return false;
}

absl::Status LocalWorkers::Poll(absl::Time now) {
  ReadMessages();
  for (int status = 0; ReapOne(&status);) {
    std::erase_if(deaths_, [&](absl::Time death) { return now - death > kDeathsWithin; });
    deaths_.push_back(now);
    if (deaths_.size() > kDeathsMax) {
      return absl::AbortedError(
          absl::StrCat("workers keep dying; the last one ", HowItEnded(status)));
    }
    log_(absl::StrCat("a worker ", HowItEnded(status), "; starting another"));
    RETURN_IF_ERROR(StartOne());
  }
  return absl::OkStatus();
}

void LocalWorkers::Stop(absl::Duration within, const std::atomic<bool>& hurry) {
  for (const pid_t pid : pids_) kill(pid, SIGTERM);
  const absl::Time until = absl::Now() + within;
  while (!pids_.empty() && absl::Now() < until && !hurry) {
    for (int status = 0; ReapOne(&status);) {
    }
    ReadMessages();
    absl::SleepFor(absl::Milliseconds(5));
  }
  KillAll();
}

void LocalWorkers::KillAll() const {
  for (const pid_t pid : pids_) kill(pid, SIGKILL);
}

}  // namespace saffron
