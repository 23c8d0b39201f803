#pragma once
// Learning-rate schedules: a factor of the peak rate for every step, one function each, found by
// name.
//
// Steps are numbered from 1 to `steps`. In the warm-up the factor is step / warmup, so it reaches 1
// at step `warmup` and no step is wasted on rate 0. After it, with u = (step - warmup) / (steps -
// warmup) in (0, 1] and f = `final_fraction`:
//   constant      1
//   linear        1 - (1 - f) u
//   cosine        f + (1 - f) (1 + cos(pi u)) / 2       Loshchilov & Hutter, SGDR, ICLR 2017
//   inverse_sqrt  sqrt(w / (step - warmup + w)), w = warmup, or a tenth of `steps` without warm-up
//                 (f unused)                            Vaswani et al., 2017, section 5.3
//   wsd           1, then down to f over the last `decay_fraction` of `steps` (warm-up, stable,
//                 decay): f + (1 - f) d(x), x the share of those steps that is done
//                                                       Hu et al., MiniCPM, 2024
//     with d(x) = 1 - x (linear), (1 + cos(pi x)) / 2 (cosine), 1 - sqrt(x) (root)
//                                                       Hägele et al., 2024, section 3

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace saffron {

enum class DecayShape : uint8_t { kLinear, kCosine, kRoot };

struct ScheduleConfig {
  int64_t steps = 0;                             // of the whole run; >= 1
  int64_t warmup = 0;                            // in [0, steps]
  double final_fraction = 0.1;                   // f, in [0, 1]
  double decay_fraction = 0.2;                   // wsd; in (0, 1]
  DecayShape decay_shape = DecayShape::kLinear;  // wsd
};

class Schedule {
 public:
  // `name` is one of ScheduleNames(). INVALID_ARGUMENT names an unknown schedule or a setting out
  // of range.
  static absl::StatusOr<Schedule> Make(const std::string& name, const ScheduleConfig& config);

  // Factor of the peak learning rate at `step`, 1 <= step <= steps. Pure.
  double Factor(int64_t step) const;

 private:
  using Shape = double (*)(const ScheduleConfig& config, int64_t step);
  Schedule(const ScheduleConfig& config, Shape shape) : config_(config), shape_(shape) {}
  ScheduleConfig config_;
  Shape shape_;
};

std::vector<std::string> ScheduleNames();

}  // namespace saffron
