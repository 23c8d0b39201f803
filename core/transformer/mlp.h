#pragma once
// An MLP over rows that someone else gathered: units(x w1 + b1, x w1_linear + b1_linear) w2 + b2.
// That of a dense layer, the experts of a sparse one, and the dense MLP beside them.

#include <cstdint>

#include "core/transformer/activation.h"
#include "core/transformer/moe_shape.h"
#include "core/transformer/transformer_shape.h"
#include "core/transformer/workspace.h"

namespace saffron {

// Weights where the passes find them: in the arena, and packed in the workspace.
template <typename T>
struct MlpWeights {
  PackedWeight<T> w1, w1_linear, w2;
  const T *b1 = nullptr, *b1_linear = nullptr, *b2 = nullptr;
  MlpUnits<T> units;
};

// What the forward pass leaves for the backward pass.
template <typename T>
struct MlpActivations {
  Rows<T> x, a, linear, units;
  Rows<T> mask;  // of units; no data without dropout
  MlpActivations From(int64_t row) const;
};

// What the backward pass works in; units and, of a gated MLP, linear.
template <typename T>
struct MlpScratch {
  Rows<T> units, linear;
};

// The kind is that of shape.mlp, with shape.mlp_unit_bias; `params` is null while the workspace
// only counts.
template <typename T>
MlpWeights<T> TakeMlpWeights(const TransformerShape& shape, const MlpPlaces& places,
                             int64_t mlp_width, const T* params, bool train,
                             Workspace<T>& workspace);
// All but x.
template <typename T>
MlpActivations<T> TakeMlpActivations(const TransformerShape& shape, int64_t rows, int64_t mlp_width,
                                     bool mask, Workspace<T>& workspace);
template <typename T>
void PackMlp(const T* params, const MlpPlaces& places, bool backward, const MlpWeights<T>& w);

// y, or with `add` what is added to y, from at.x; at.mask, where there is one, must be filled.
template <typename T>
void MlpForward(int64_t rows, const MlpWeights<T>& w, const MlpActivations<T>& at, bool add,
                Rows<T> y);
// Sets dx, which may be dy; adds to `gradient` (the arena's).
template <typename T>
void MlpBackward(int64_t rows, const MlpWeights<T>& w, const MlpPlaces& places,
                 const MlpActivations<T>& at, Rows<T> dy, const MlpScratch<T>& scratch, Rows<T> dx,
                 T* gradient);

}  // namespace saffron
