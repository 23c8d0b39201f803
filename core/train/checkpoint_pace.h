#pragma once
// When a run writes its state: seldom enough to cost little, and not at all in short runs. Decided
// by the clock, which is why nothing that is computed may depend on it.

#include <algorithm>
#include <cstdint>

#include "core/train/stopwatch.h"
#include "core/train/trainer.h"

namespace saffron {

class CheckpointPace {
 public:
  explicit CheckpointPace(const CheckpointPlan& plan) : plan_(plan), wait_s_(plan.every_s) {}

  // The run stands at `step`, which is on disk already.
  void Begin(int64_t step) { saved_step_ = step; }

  // Whether it is time for one, at `step`.
  bool IsDue(int64_t step) const {
    return !plan_.prefix.empty() && step > saved_step_ && since_.Seconds() >= wait_s_;
  }

  // Whether a run that stops at `step` has something to leave.
  bool WorthHandingBack(int64_t step) const {
    return !plan_.prefix.empty() && step > saved_step_ && since_.Seconds() >= plan_.worth_s;
  }

  // Writing it took `seconds`.
  void Saved(int64_t step, double seconds) {
    saved_step_ = step;
    wait_s_ = std::max(plan_.every_s, seconds / plan_.share);
    since_.Lap();
  }

 private:
  const CheckpointPlan& plan_;
  double wait_s_;
  int64_t saved_step_ = 0;
  Stopwatch since_;
};

}  // namespace saffron
