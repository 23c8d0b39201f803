#pragma once
// Sizes of a transformer's layers: what a variant says of them, and what follows where it says 0.

#include <cstdint>
#include <string>

#include "core/model/number_list.h"
#include "core/model/variant.h"

namespace saffron {

inline bool IsGatedMlp(const std::string& mlp) { return mlp == "geglu" || mlp == "swiglu"; }

// Gated: two thirds of four widths, rounded up to a multiple of 8.
inline int64_t MlpWidth(int64_t hidden_width, const std::string& mlp, int64_t mlp_width) {
  if (mlp_width > 0) return mlp_width;
  return IsGatedMlp(mlp) ? (8 * hidden_width / 3 + 7) / 8 * 8 : 4 * hidden_width;
}

struct LayerSizes {
  int64_t heads = 0, kv_heads = 0, key_dim = 0, value_dim = 0, mlp_width = 0;
};

// Of layer `layer`, from 0. Params: ResolvedVariant or ParamView.
template <typename Params>
LayerSizes SizesOfLayer(const Params& p, int64_t layer) {
  const auto number = [&](const char* key) { return NumberAt(p[key], layer); };
  const int64_t width = p.Int("model.hidden_width"), kv_heads = number("model.kv_heads");
  const int64_t head_dim = number("model.head_dim"), value_dim = number("model.value_dim");
  LayerSizes sizes;
  sizes.heads = number("model.heads");
  sizes.kv_heads = kv_heads > 0 ? kv_heads : sizes.heads;
  sizes.key_dim = head_dim > 0 ? head_dim : width / sizes.heads;
  sizes.value_dim = value_dim > 0 ? value_dim : sizes.key_dim;
  sizes.mlp_width = MlpWidth(width, p.String("model.mlp"), number("model.mlp_width"));
  return sizes;
}

}  // namespace saffron
