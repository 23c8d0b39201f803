#pragma once
// One gain a key: z = log p + sum_k lambda_k x_k R_k.

#include <cstdint>
#include <string_view>

namespace saffron {

// How the gains are set. kKnorm is the literal formula (every lambda 1: over-confident when keys
// repeat each other's evidence), kGeometric takes 1/NK, kCalibrated maximises hold-out likelihood.
enum class GainMode : uint8_t { kKnorm, kGeometric, kCalibrated };

}  // namespace saffron
