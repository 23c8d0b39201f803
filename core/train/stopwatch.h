#pragma once
// Elapsed time of a monotonic clock, for metrics alone: nothing is decided by it.

#include <chrono>

namespace saffron {

class Stopwatch {
 public:
  double Seconds() const {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count();
  }
  // Seconds so far; starts again.
  double Lap() {
    const double seconds = Seconds();
    start_ = std::chrono::steady_clock::now();
    return seconds;
  }

 private:
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

}  // namespace saffron
