#include "worker/slot_process.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "core/base/status_macros.h"
#include "worker/attempt.h"

namespace saffron {
namespace {

constexpr int kChildFd = 3;
constexpr absl::Duration kPoll = absl::Milliseconds(250);

bool Same(const v1::AttemptRef& a, const v1::AttemptRef& b) {
  return a.trial_id() == b.trial_id() && a.attempt() == b.attempt();
}

absl::Duration TimeLimit(const v1::Assignment& assignment) {
  const absl::Duration limit = absl::Seconds(assignment.time_limit().seconds()) +
                               absl::Nanoseconds(assignment.time_limit().nanos());
  return limit > absl::ZeroDuration() ? limit : absl::InfiniteDuration();
}

// posix_spawn rather than fork: safe in a process with threads.
absl::StatusOr<pid_t> Spawn(const std::vector<std::string>& argv, int child_end) {
  std::vector<char*> arguments;
  for (const std::string& argument : argv) arguments.push_back(const_cast<char*>(argument.c_str()));
  arguments.push_back(nullptr);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, child_end, kChildFd);
  posix_spawn_file_actions_adddup2(&actions, STDERR_FILENO, STDOUT_FILENO);
  pid_t pid = -1;
  const int error = posix_spawn(&pid, arguments[0], &actions, nullptr, arguments.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  if (error != 0) {
    return absl::UnavailableError(
        absl::StrCat("cannot start a slot process (", argv[0], "): ", strerror(error)));
  }
  return pid;
}

}  // namespace

SlotProcess::SlotProcess(Options options) : options_(std::move(options)) {}

SlotProcess::~SlotProcess() {
  if (pid_ < 0) return;
  kill(pid_, SIGKILL);
  waitpid(pid_, nullptr, 0);
  close(fd_);
}

absl::Status SlotProcess::Start() {
  int ends[2];
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0) {
    return absl::UnavailableError(absl::StrCat("socketpair: ", strerror(errno)));
  }
  // dup2 onto itself would leave close-on-exec set in the child.
  if (ends[1] == kChildFd) {
    const int moved = fcntl(ends[1], F_DUPFD_CLOEXEC, kChildFd + 1);
    close(ends[1]);
    ends[1] = moved;
  }
  const absl::StatusOr<pid_t> pid = Spawn(options_.argv, ends[1]);
  close(ends[1]);
  if (!pid.ok()) {
    close(ends[0]);
    return pid.status();
  }
  fd_ = ends[0];
  pid_ = *pid;
  reader_ = std::make_unique<FrameReader>(fd_);
  return absl::OkStatus();
}

v1::AttemptResult SlotProcess::Reap(const v1::AttemptRef& ref) {
  int status = 0;
  // The socket closes when the process ends, or when it broke the protocol: then it must not
  // linger.
  for (int i = 0; waitpid(pid_, &status, WNOHANG) == 0; ++i) {
    if (i == 100) kill(pid_, SIGKILL);
    absl::SleepFor(absl::Milliseconds(10));
  }
  close(fd_);
  pid_ = -1;
  fd_ = -1;
  if (WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL) {
    return FailedResult(ref, v1::FAILURE_CLASS_OUT_OF_MEMORY,
                        "the trial's process was killed (SIGKILL), most often by the kernel for "
                        "want of memory");
  }
  const std::string how = WIFSIGNALED(status)
                              ? absl::StrCat("died of signal ", WTERMSIG(status), " (",
                                             strsignal(WTERMSIG(status)), ")")
                              : absl::StrCat("ended with exit code ", WEXITSTATUS(status));
  return FailedResult(ref, v1::FAILURE_CLASS_ERROR, absl::StrCat("the trial's process ", how));
}

absl::Status SlotProcess::Order(const v1::SlotOrder& order) {
  return WriteFrame(fd_, order.SerializeAsString());
}

void SlotProcess::Stop(const v1::AttemptRef& ref, StopReason reason) {
  std::lock_guard lock(mutex_);
  if (!Same(current_, ref) || stop_reason_ != StopReason::kNone) return;
  stop_reason_ = reason;
  kill_at_ = absl::Now() + options_.stop_grace;
  if (fd_ >= 0) SendStop();
}

void SlotProcess::SendStop() {
  v1::SlotOrder order;
  *order.mutable_stop() = current_;
  order.set_hand_back(stop_reason_ == StopReason::kPreempted);
  Order(order).IgnoreError();  // a dead child is noticed by the reader
}

void SlotProcess::Prepare(const v1::AttemptRef& ref) {
  std::lock_guard lock(mutex_);
  current_ = ref;
  stop_reason_ = StopReason::kNone;
  kill_at_ = absl::InfiniteFuture();
}

void SlotProcess::Kill() {
  std::lock_guard lock(mutex_);
  killed_ = true;
  if (pid_ > 0) kill(pid_, SIGKILL);
}

SlotProcess::Ended SlotProcess::EndedByStop(const v1::Assignment& assignment, StopReason reason,
                                            v1::AttemptResult result) {
  const bool timeout = reason == StopReason::kTimeout;
  result.set_outcome(v1::OUTCOME_FAILED);
  result.set_failure_class(timeout ? v1::FAILURE_CLASS_TIMEOUT : v1::FAILURE_CLASS_PREEMPTED);
  result.set_message(
      timeout ? absl::StrCat("over its time limit of ", absl::FormatDuration(TimeLimit(assignment)))
              : "handed back: the worker is leaving");
  return {std::move(result), reason};
}

void SlotProcess::KillIfOverdue(absl::Time now) {
  std::lock_guard lock(mutex_);
  if (now >= kill_at_) kill(pid_, SIGKILL);
}

SlotProcess::Ended SlotProcess::EndedByDeath(const v1::Assignment& assignment) {
  std::lock_guard lock(mutex_);
  v1::AttemptResult result = Reap(assignment.ref());
  if (stop_reason_ != StopReason::kNone) {
    return EndedByStop(assignment, stop_reason_, std::move(result));
  }
  return {std::move(result), StopReason::kNone};
}

absl::Status SlotProcess::Begin(const v1::Assignment& assignment, const v1::SlotFiles& files) {
  std::lock_guard lock(mutex_);
  if (killed_) return absl::CancelledError("the slot is closed");
  v1::SlotOrder order;
  *order.mutable_run() = assignment;
  *order.mutable_files() = files;
  if (fd_ < 0 || !Order(order).ok()) {
    if (fd_ >= 0) Reap(assignment.ref());  // it died between two trials: no fault of this one
    RETURN_IF_ERROR(Start());
    RETURN_IF_ERROR(Order(order));
  }
  if (stop_reason_ != StopReason::kNone) SendStop();
  return absl::OkStatus();
}

SlotProcess::Ended SlotProcess::Run(const v1::Assignment& assignment, const v1::SlotFiles& files,
                                    const Listener& listener) {
  const absl::Time limit_at = absl::Now() + TimeLimit(assignment);
  if (const absl::Status begun = Begin(assignment, files); !begun.ok()) {
    return {FailedResult(assignment.ref(), v1::FAILURE_CLASS_ERROR, std::string(begun.message())),
            StopReason::kNone};
  }
  for (;;) {
    const absl::Time now = absl::Now();
    if (now >= limit_at) Stop(assignment.ref(), StopReason::kTimeout);
    KillIfOverdue(now);
    const absl::StatusOr<std::string> frame =
        reader_->Next(std::clamp(limit_at, now + absl::Milliseconds(1), now + kPoll));
    if (absl::IsDeadlineExceeded(frame.status())) continue;
    v1::SlotReport report;
    if (!frame.ok() || !report.ParseFromString(*frame)) return EndedByDeath(assignment);
    if (report.measurements_size() > 0) {
      listener.on_measurements({std::make_move_iterator(report.mutable_measurements()->begin()),
                                std::make_move_iterator(report.mutable_measurements()->end())});
    }
    for (v1::SlotCheckpoint& checkpoint : *report.mutable_checkpoints()) {
      if (listener.on_checkpoint) listener.on_checkpoint(std::move(checkpoint));
    }
    if (!report.has_result()) continue;
    std::lock_guard lock(mutex_);
    current_.Clear();
    Ended ended;
    if (report.stopped()) {
      ended = EndedByStop(assignment, stop_reason_, std::move(*report.mutable_result()));
    } else {
      ended.result = std::move(*report.mutable_result());
    }
    return ended;
  }
}

}  // namespace saffron
