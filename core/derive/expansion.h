#pragma once
// Function-preserving expansions of a transformer: the shape of the grown model and where each of
// its tensors comes from. One file an operator; expansion.cc lists them.
//
// Gesmundo & Maile, "Composable function-preserving expansions for transformer architectures",
// arXiv:2308.06103, definitions 3.1 to 3.6. Beyond the paper: RMSNorm's epsilon is scaled with the
// width (its proof takes epsilon 0); rotary frequencies and ALiBi slopes of what exists are kept;
// key biases are scaled like key matrices; biases on the residual stream grow by zeros.

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "core/derive/derive_op.h"
#include "core/derive/tensor_map.h"
#include "core/transformer/transformer_shape.h"

namespace saffron {

struct ModelExpansion {
  TransformerShape shape;       // the child's
  std::vector<TensorMap> maps;  // one for each tensor of LayOut(shape), in its order
};

// INVALID_ARGUMENT when the operator does not apply: names it, what is wanted and what is, for
// shapes that do not divide, layers that do not exist, sizes that do not grow, and for hidden
// expansion under LayerNorm, which zero-padding does not preserve. `parent` must satisfy
// CheckShape; the child's shape does.
absl::StatusOr<ModelExpansion> ExpandModel(const TransformerShape& parent, const DeriveOp& op);
// The child's shape alone, in no time; errors likewise.
absl::StatusOr<TransformerShape> ExpandShape(const TransformerShape& parent, const DeriveOp& op);

}  // namespace saffron
