#pragma once
// Sizes of a transformer that follow from others where a variant says 0.

#include <cstdint>
#include <string>

namespace saffron {

inline int64_t HeadDim(int64_t hidden_width, int64_t heads, int64_t head_dim) {
  return head_dim > 0 ? head_dim : hidden_width / heads;
}

inline bool IsGatedMlp(const std::string& mlp) { return mlp == "geglu" || mlp == "swiglu"; }

// Gated: two thirds of four widths, rounded up to a multiple of 8.
inline int64_t MlpWidth(int64_t hidden_width, const std::string& mlp, int64_t mlp_width) {
  if (mlp_width > 0) return mlp_width;
  return IsGatedMlp(mlp) ? (8 * hidden_width / 3 + 7) / 8 * 8 : 4 * hidden_width;
}

}  // namespace saffron
