#pragma once
// From the text of solve.* keys to what core/solve takes.

#include "core/model/variant.h"
#include "core/solve/gains.h"

namespace saffron {

// Of a variant with an explicit start.
GainMode GainModeOf(const ResolvedVariant& variant);

}  // namespace saffron
