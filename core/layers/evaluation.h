#pragma once
// What evaluating a classifier over many targets gives.

#include <cstdint>

namespace saffron {

struct Evaluation {
  int64_t targets = 0;
  double nats = 0;  // sum over targets of -log p(target), accumulated in double in a fixed order
  int64_t correct = 0;  // targets whose logit is the largest (of equal ones, that of the lowest id)

  double nats_per_target() const { return targets > 0 ? nats / static_cast<double>(targets) : 0; }
  double accuracy() const {
    return targets > 0 ? static_cast<double>(correct) / static_cast<double>(targets) : 0;
  }
};

}  // namespace saffron
