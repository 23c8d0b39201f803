#pragma once
namespace saffron {

// Part of every trial's identity. Bump it in any change after which the same variant, seed and data
// would give other numbers: stored results of older versions are then never reused.
inline constexpr int kNumericsVersion = 2;

}  // namespace saffron
