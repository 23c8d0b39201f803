#pragma once
// Where the coordinator's time comes from: the machine, or a simulation.

#include <chrono>

#include "absl/time/clock.h"
#include "absl/time/time.h"

namespace saffron {

class Clock {
 public:
  virtual ~Clock() = default;
  // Never goes back.
  virtual absl::Time Now() = 0;
};

// The wall clock as it was at construction, moved on by the steady clock: correcting the machine's
// time then neither expires nor prolongs a lease. Thread-safe.
class RealClock : public Clock {
 public:
  absl::Time Now() override {
    return start_ + absl::FromChrono(std::chrono::steady_clock::now() - steady_start_);
  }

 private:
  const absl::Time start_ = absl::Now();
  const std::chrono::steady_clock::time_point steady_start_ = std::chrono::steady_clock::now();
};

}  // namespace saffron
