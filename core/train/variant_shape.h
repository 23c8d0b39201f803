#pragma once
// The shape of a transformer that a variant's keys describe, and whether a model from elsewhere has
// it.

#include <string>

#include "absl/status/statusor.h"
#include "core/model/variant.h"
#include "core/transformer/transformer_shape.h"

namespace saffron {

// Of a variant of model.type transformer, over `vocab` ids.
TransformerShape ShapeOf(const ResolvedVariant& variant, int vocab);

// The shape of a model that was trained or grown elsewhere, as the variant will train it: sizes and
// kinds must be those of its keys; epsilons, frequencies and slopes stay those of the model; what
// no tensor depends on (the window, capacities) follows the keys. FAILED_PRECONDITION names the
// key, both values, and the operator (core/derive/derive_op.h) that would make up for it, where
// there is one. `how`: what was done to the model, "grown by mlp:64"; may be empty.
absl::StatusOr<TransformerShape> AdaptShape(const TransformerShape& given,
                                            const ResolvedVariant& variant, const std::string& how);

}  // namespace saffron
