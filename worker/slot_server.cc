#include "worker/slot_server.h"

#include <signal.h>
#include <unistd.h>

#include <condition_variable>
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
  v1::Assignment WaitForRun() {
    std::unique_lock lock(mutex_);
    arrived_.wait(lock, [&] { return next_.has_value(); });
    v1::Assignment assignment = std::move(*next_);
    next_.reset();
    return assignment;
  }

  void Handle(v1::SlotOrder order) {
    std::lock_guard lock(mutex_);
    if (order.has_run()) {
      stop_ = false;
      current_ = order.run().ref();
      next_ = std::move(*order.mutable_run());
      arrived_.notify_one();
    } else if (order.has_stop() && order.stop().trial_id() == current_.trial_id() &&
               order.stop().attempt() == current_.attempt()) {
      stop_ = true;
    }
  }

  const std::atomic<bool>& stop() const { return stop_; }

 private:
  std::mutex mutex_;
  std::condition_variable arrived_;
  std::optional<v1::Assignment> next_;
  v1::AttemptRef current_;
  std::atomic<bool> stop_ = false;
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
    Send(fd_, report);
    report.Clear();
    flushed_ = now;
  }

  v1::SlotReport report;

 private:
  int fd_;
  absl::Time flushed_;
};

absl::StatusOr<TrialResult> RunGuarded(const SlotServerOptions& options,
                                       const v1::Assignment& assignment,
                                       const std::atomic<bool>& stop, MeasurementSink& sink) {
  const ScopedMemoryLimit limit(assignment.memory_limit_bytes());
  try {
    return options.body(assignment, stop, sink);
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
  const v1::Assignment assignment = inbox.WaitForRun();
  ReportingSink sink(options.fd);
  const absl::Time started = absl::Now();
  const absl::StatusOr<TrialResult> result = RunGuarded(options, assignment, inbox.stop(), sink);
  *sink.report.mutable_result() = ResultOf(assignment.ref(), result, started, absl::Now());
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
