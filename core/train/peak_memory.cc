#include "core/train/peak_memory.h"

#include <cinttypes>
#include <cstdio>
#include <fstream>
#include <string>

namespace saffron {

PeakMemoryMeter::PeakMemoryMeter() { std::ofstream("/proc/self/clear_refs") << "5"; }

int64_t PeakMemoryMeter::PeakBytes() const {
  std::ifstream status("/proc/self/status");
  std::string line;
  while (std::getline(status, line)) {
    int64_t kibibytes = 0;
    if (std::sscanf(line.c_str(), "VmHWM: %" SCNd64 " kB", &kibibytes) == 1)
      return kibibytes * 1024;
  }
  return 0;
}

}  // namespace saffron
