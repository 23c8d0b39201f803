#pragma once
// The random start of a SAFFU network: the control against which explicit solutions are measured,
// so chosen for what trains best, not for what looks like the explicit start.
//
// Measured on State of the Union text (1M tokens, V = 4096, b = 64, four x keys and one c key,
// Adam, linear schedule to a tenth), test perplexity by gain g and the better of rates 0.01 and
// 0.03:
//   steps   g = NK   2 NK    4 NK        x keys alone, 300 steps: 165.8, 162.9, 180.3
//   100     151.9    135.8   135.6       100k tokens, 100 steps:  153.1, 143.3, 151.8
//   300     113.4    109.1   108.8       10k tokens, 30 steps:    488.8, 254.3, 312.6
//   600     100.5     98.4    98.7
// A small g mostly asks for a larger rate (g = NK, rate 0.1, 100 steps: 132.3). Deviations of U
// from 1e-4 to 0.1 differ by less than 1.5 %, 0.3 is worse; with two layers 0.1 below the top
// is 1.6 % better than 0.01.

#include <cstdint>
#include <vector>

#include "core/model/saffu_params.h"

namespace saffron {

// beta = 0, W = 0, no bias, g = 2 NK, U normal of deviation 0.01 at the top and 0.1 below. A pure
// function of shapes and seed (counter-based draws, keyed by layer and element).
std::vector<SaffuLayerParams<float>> RandomSaffuParams(const std::vector<SaffuLayerShape>& shapes,
                                                       uint64_t seed);

}  // namespace saffron
