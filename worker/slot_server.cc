#include "worker/slot_server.h"

#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <condition_variable>
#include <cstdio>
#include <exception>
#include <mutex>
#include <new>
#include <optional>
#include <thread>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "saffron/v1/slot.pb.h"
#include "worker/frame.h"
#include "worker/memory_limit.h"

namespace saffron {
namespace {

constexpr absl::Duration kFlushEvery = absl::Milliseconds(200);
constexpr int kFlushMeasurements = 256;

// Orders as they arrive: the attempt to run next, and whether to stop the one running.
class Inbox {
 public:
  v1::SlotOrder WaitForRun() {
    std::unique_lock lock(mutex_);
    arrived_.wait(lock, [&] { return next_.has_value(); });
    v1::SlotOrder order = std::move(*next_);
    next_.reset();
    return order;
  }

  void Handle(v1::SlotOrder order) {
    std::lock_guard lock(mutex_);
    if (order.has_run()) {
      stop_ = false;
      current_ = order.run().ref();
      next_ = std::move(order);
      arrived_.notify_one();
    } else if (order.has_stop() && order.stop().trial_id() == current_.trial_id() &&
               order.stop().attempt() == current_.attempt()) {
      hand_back_ = order.hand_back();
      stop_ = true;
    }
  }

  const std::atomic<bool>& stop() const { return stop_; }
  const std::atomic<bool>& hand_back() const { return hand_back_; }

 private:
  std::mutex mutex_;
  std::condition_variable arrived_;
  std::optional<v1::SlotOrder> next_;
  v1::AttemptRef current_;
  std::atomic<bool> stop_ = false, hand_back_ = false;
};

[[noreturn]] void End() { _exit(0); }

void Send(int fd, const v1::SlotReport& report) {
  if (!WriteFrame(fd, report.SerializeAsString()).ok()) End();
}

// Collects measurements and sends them a few at a time, so that a learning curve can be followed
// without a message per point.
class ReportingSink : public MeasurementSink {
 public:
  explicit ReportingSink(int fd) : fd_(fd), flushed_(absl::Now()) {}

  void Record(const Measurement& measurement) override {
    v1::Measurement* added = report.add_measurements();
    added->set_key(measurement.key);
    added->set_step(measurement.step);
    added->set_value(measurement.value);
    const absl::Time now = absl::Now();
    if (report.measurements_size() < kFlushMeasurements && now - flushed_ < kFlushEvery) return;
    Flush(now);
  }

  void Saved(const absl::StatusOr<SavedCheckpoint>& saved) {
    if (!saved.ok()) {
      std::fprintf(stderr, "saffron: a trial could not leave a checkpoint: %s\n",
                   std::string(saved.status().message()).c_str());
      return;
    }
    v1::SlotCheckpoint* added = report.add_checkpoints();
    added->set_path(saved->path);
    added->mutable_artifact()->set_sha256(saved->sha256);
    added->mutable_artifact()->set_bytes(saved->bytes);
    added->mutable_artifact()->set_kind(saved->kind);
    added->mutable_artifact()->set_role(saved->role);
    added->mutable_artifact()->set_step(saved->step);
    Flush(absl::Now());
  }

  v1::SlotReport report;

 private:
  void Flush(absl::Time now) {
    Send(fd_, report);
    report.Clear();
    flushed_ = now;
  }

  int fd_;
  absl::Time flushed_;
};

TrialControls ControlsOf(const v1::SlotFiles& files, const Inbox& inbox, ReportingSink& sink) {
  TrialControls controls{.stop = inbox.stop(),
                         .hand_back = inbox.hand_back(),
                         .checkpoints = {.prefix = files.checkpoint_prefix(),
                                         .keep = {files.keep().begin(), files.keep().end()},
                                         .keep_routing = true},
                         .resume_from = files.resume_from(),
                         .init_from = files.init_from(),
                         .init_missing = files.init_missing()};
  if (files.checkpoint_every_s() > 0) {
    controls.checkpoints.every_s = files.checkpoint_every_s();
    // Who asks for them more often than that thinks less worth keeping, too.
    controls.checkpoints.worth_s =
        std::min(controls.checkpoints.worth_s, files.checkpoint_every_s());
  }
  controls.checkpoints.on_saved = [&sink](const auto& saved) { sink.Saved(saved); };
  return controls;
}

absl::StatusOr<TrialResult> RunGuarded(const SlotServerOptions& options,
                                       const v1::Assignment& assignment,
                                       const TrialControls& controls, MeasurementSink& sink) {
  const ScopedMemoryLimit limit(assignment.memory_limit_bytes());
  try {
    return options.body(assignment, controls, sink);
  } catch (const std::bad_alloc&) {
    const std::string allowed =
        assignment.memory_limit_bytes() > 0
            ? absl::StrCat(" (limit ", assignment.memory_limit_bytes() >> 20, " MiB)")
            : "";
    return absl::ResourceExhaustedError(absl::StrCat("out of memory", allowed));
  } catch (const std::exception& error) {
    return absl::InternalError(absl::StrCat("exception in the trainer: ", error.what()));
  }
}

void RunOne(const SlotServerOptions& options, Inbox& inbox) {
  const v1::SlotOrder order = inbox.WaitForRun();
  const v1::Assignment& assignment = order.run();
  ReportingSink sink(options.fd);
  const absl::Time started = absl::Now();
  const absl::StatusOr<TrialResult> result =
      RunGuarded(options, assignment, ControlsOf(order.files(), inbox, sink), sink);
  *sink.report.mutable_result() = ResultOf(assignment, result, started, absl::Now());
  sink.report.set_stopped(absl::IsCancelled(result.status()));
  Send(options.fd, sink.report);
}

}  // namespace

void ServeSlot(const SlotServerOptions& options) {
  // A terminal's Ctrl-C reaches every process of the group; only the worker decides what it means.
  signal(SIGINT, SIG_IGN);
  signal(SIGTERM, SIG_IGN);
  Inbox inbox;
  std::thread([&options, &inbox] {
    FrameReader reader(options.fd);
    for (;;) {
      const absl::StatusOr<std::string> frame = reader.Next(absl::InfiniteFuture());
      v1::SlotOrder order;
      if (!frame.ok() || !order.ParseFromString(*frame)) End();
      inbox.Handle(std::move(order));
    }
  }).detach();
  for (;;) RunOne(options, inbox);
}

}  // namespace saffron
