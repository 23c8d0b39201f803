#include "coordinator/engine/engine_thread.h"

#include <algorithm>
#include <chrono>

namespace saffron {

EngineThread::EngineThread(Engine* engine, Clock* clock) : engine_(engine), clock_(clock) {
  engine_->SetWaker([this] {
    std::lock_guard<std::mutex> lock(mutex_);
    work_ = true;
    changed_.notify_one();
  });
  thread_ = std::thread([this] { Run(); });
}

EngineThread::~EngineThread() { Stop(); }

void EngineThread::Stop() {
  {
    std::lock_guard<std::mutex> lock(mutex_);
    if (stop_) return;
    stop_ = true;
    changed_.notify_one();
  }
  thread_.join();
  engine_->RunOnce(clock_->Now());
  engine_->Shutdown();
}

EngineThread::BatchTimes EngineThread::batch_times() const {
  std::lock_guard<std::mutex> lock(mutex_);
  return times_;
}

void EngineThread::Run() {
  while (true) {
    const absl::Time began = clock_->Now();
    const absl::Time next = engine_->RunOnce(began);
    const double seconds = absl::ToDoubleSeconds(clock_->Now() - began);
    // Bounded, so that time which passed unnoticed (a suspended machine) is noticed.
    const absl::Duration wait =
        std::clamp(next - clock_->Now(), absl::ZeroDuration(), absl::Seconds(1));
    std::unique_lock<std::mutex> lock(mutex_);
    const auto& bounds = BatchTimes::kBounds;
    ++times_.counts[std::lower_bound(bounds.begin(), bounds.end(), seconds) - bounds.begin()];
    times_.sum_seconds += seconds;
    changed_.wait_for(lock, absl::ToChronoNanoseconds(wait), [this] { return work_ || stop_; });
    if (stop_) return;
    work_ = false;
  }
}

}  // namespace saffron
