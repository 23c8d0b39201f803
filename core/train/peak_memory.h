#pragma once
// Peak resident memory of this process, from Linux's /proc.

#include <cstdint>

namespace saffron {

// Measures from its construction on. Of the whole process: trials that share one see each other's
// memory, and a meter made meanwhile forgets the peak of an earlier one.
class PeakMemoryMeter {
 public:
  // Writes 5 to /proc/self/clear_refs, which resets VmHWM to the present resident size (proc(5)).
  // Where the kernel refuses, the reading is of the process's whole life.
  PeakMemoryMeter();
  // Highest resident set size so far (VmHWM), in bytes; 0 when the kernel does not say.
  int64_t PeakBytes() const;
};

}  // namespace saffron
