#include "core/train/solve_choices.h"

#include <map>
#include <string>

namespace saffron {

GainMode GainModeOf(const ResolvedVariant& variant) {
  static const auto* const modes =
      new std::map<std::string, GainMode>{{"calibrated", GainMode::kCalibrated},
                                          {"geometric", GainMode::kGeometric},
                                          {"knorm", GainMode::kKnorm}};
  return modes->at(variant.String("solve.gains"));
}

}  // namespace saffron
