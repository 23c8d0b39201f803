#include "worker/trial_runner.h"

#include <utility>

#include "worker/attempt.h"

namespace saffron {
namespace {

bool Same(const v1::AttemptRef& a, const v1::AttemptRef& b) {
  return a.trial_id() == b.trial_id() && a.attempt() == b.attempt();
}

}  // namespace

TrialRunner::TrialRunner(int slots, const SlotProcess::Options& options, RunnerListener* listener)
    : listener_(listener) {
  for (int i = 0; i < slots; ++i) {
    slots_.push_back(std::make_unique<Slot>());
    slots_.back()->process = std::make_unique<SlotProcess>(options);
  }
  for (const std::unique_ptr<Slot>& slot : slots_) {
    slot->thread = std::thread([this, &slot = *slot] { Serve(slot); });
  }
}

TrialRunner::~TrialRunner() {
  {
    std::lock_guard lock(mutex_);
    closing_ = true;
    for (const std::unique_ptr<Slot>& slot : slots_) slot->abandoned = true;
  }
  changed_.notify_all();
  for (const std::unique_ptr<Slot>& slot : slots_) slot->process->Kill();
  for (const std::unique_ptr<Slot>& slot : slots_) slot->thread.join();
}

void TrialRunner::HandBack(const v1::Assignment& assignment) {
  listener_->Finished(FailedResult(assignment.ref(), v1::FAILURE_CLASS_PREEMPTED,
                                   "handed back before it began: the worker is leaving"));
}

void TrialRunner::Start(v1::Assignment assignment) {
  {
    std::lock_guard lock(mutex_);
    if (!preempting_) {
      waiting_.push_back(std::move(assignment));
      changed_.notify_one();
      return;
    }
  }
  HandBack(assignment);
}

void TrialRunner::Abandon(const v1::AttemptRef& ref) {
  std::lock_guard lock(mutex_);
  std::erase_if(waiting_, [&](const v1::Assignment& a) { return Same(a.ref(), ref); });
  for (const std::unique_ptr<Slot>& slot : slots_) {
    if (!Same(slot->current, ref)) continue;
    slot->abandoned = true;
    slot->process->Stop(ref, StopReason::kAbandoned);
  }
}

void TrialRunner::Preempt() {
  std::deque<v1::Assignment> waiting;
  {
    std::lock_guard lock(mutex_);
    preempting_ = true;
    waiting.swap(waiting_);
    for (const std::unique_ptr<Slot>& slot : slots_) {
      if (slot->current.trial_id() != 0) {
        slot->process->Stop(slot->current, StopReason::kPreempted);
      }
    }
  }
  for (const v1::Assignment& assignment : waiting) HandBack(assignment);
}

void TrialRunner::Serve(Slot& slot) {
  for (;;) {
    v1::Assignment assignment;
    {
      std::unique_lock lock(mutex_);
      changed_.wait(lock, [&] { return closing_ || !waiting_.empty(); });
      if (closing_) return;
      assignment = std::move(waiting_.front());
      waiting_.pop_front();
      slot.current = assignment.ref();
      slot.abandoned = false;
      slot.process->Prepare(assignment.ref());
    }
    SlotProcess::Ended ended =
        slot.process->Run(assignment, listener_->FilesFor(assignment),
                          {.on_measurements =
                               [&](std::vector<v1::Measurement> measurements) {
                                 listener_->Measured(assignment.ref(), std::move(measurements));
                               },
                           .on_checkpoint =
                               [&](v1::SlotCheckpoint checkpoint) {
                                 listener_->Saved(assignment.ref(), std::move(checkpoint));
                               }});
    bool dropped;
    {
      std::lock_guard lock(mutex_);
      slot.current.Clear();
      if (closing_) return;
      dropped = slot.abandoned;
    }
    if (dropped) {
      listener_->Dropped(assignment.ref());
      continue;
    }
    listener_->Finished(std::move(ended.result));
  }
}

}  // namespace saffron
