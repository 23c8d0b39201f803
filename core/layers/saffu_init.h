#pragma once
// The random start of a SAFFU network: the control against which explicit solutions are measured.

#include <cstdint>
#include <vector>

#include "core/model/saffu_params.h"

namespace saffron {

// beta = 0, W = 0, no bias, g = number of keys, U normal with a small deviation. A pure function of
// shapes and seed (counter-based draws, keyed by layer and element).
std::vector<SaffuLayerParams<float>> RandomSaffuParams(const std::vector<SaffuLayerShape>& shapes,
                                                       uint64_t seed);

}  // namespace saffron
