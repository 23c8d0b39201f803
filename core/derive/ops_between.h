#pragma once
// Which operators lead from one shape to another.

#include <vector>

#include "absl/status/statusor.h"
#include "core/derive/derive_op.h"
#include "core/transformer/transformer_shape.h"

namespace saffron {

// Those that make a model of shape `from` as large as `to`, in this order: hidden, heads, key,
// value, mlp, layers (new ones on top), heads, key, value and mlp of new layers that are to be
// larger than the one below, experts; none where the sizes are equal. What operators do not change
// (kinds, biases, the window) is not looked at, nor is what they do beside (frequencies, slopes,
// epsilons). Errors of ExpandShape, for a size that would shrink or cannot grow exactly.
absl::StatusOr<std::vector<DeriveOp>> OpsBetween(const TransformerShape& from,
                                                 const TransformerShape& to);

}  // namespace saffron
