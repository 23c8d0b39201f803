#pragma once
// Two models of one shape brought into the same order of hidden units, so that they can be
// averaged.
//
// Units of a layer (of an MLP, attention heads, experts) have no order: a model whose units stand
// elsewhere computes the same, and the mean of the two computes nothing. Layer by layer, from the
// first to the last, every unit of A is put in the place of the unit of B that it is most like;
// then
//   W = (1 - s) W_A + s W_B
// is OTFusion of equal widths, whose optimal transport is a permutation.
//   Singh & Jaggi, "Model fusion via optimal transport", NeurIPS 2020, arXiv:1910.05653, algorithm
//   1
//
// What is matched, by the least sum of squared differences:
//   hidden units of an MLP classifier   all incoming weights, biases included
//   hidden units of a transformer's MLP all incoming and outgoing weights
//   attention heads, as wholes          Q K' and V O (biases as a last row of Q, K and V), which
//   say
//                                       what a head does whatever basis it does it in; heads that
//                                       share keys and values move together, and may change places
//                                       among themselves; rotary positions, alike in all heads of a
//                                       layer, are left out; only heads of one ALiBi slope are
//                                       alike
//   experts, as wholes                  their column of the router and their units, best matched
// The residual stream keeps its basis: transformers fuse well only when they began as one model.
//
// Sums of squares over a whole matching differ by inner products alone, so these are maximised.

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "core/math/matrix.h"
#include "core/transformer/transformer_shape.h"

namespace saffron {

// The tensors of a model by name; vectors have one row.
using NamedMatrices = std::map<std::string, Matrix<double>>;

// How many units (heads, experts and the units in these) there were, and how many changed places.
struct AlignmentCount {
  int64_t units = 0, moved = 0;
};

// Rearranges `a`, which computes the same afterwards. `a` and `b` have the same tensors, those of
// an MlpClassifier (mlp_classifier.h); without biases where there are none. Units take O(n^3) time
// for n in a layer.
AlignmentCount AlignMlpClassifier(const NamedMatrices& b, NamedMatrices* a);

// The same of transformers: tensors as LayOut names them. The two shapes are the same but for the
// order of ALiBi slopes, which become those of `b`. INVALID_ARGUMENT, leaving `a` half rearranged:
// heads do not have the same slopes, or there are more units, heads or experts than memory should
// be taken for. E experts of p units take O(E^2 p^3) time.
absl::Status AlignTransformer(const TransformerShape& shape_a, const TransformerShape& shape_b,
                              const NamedMatrices& b, NamedMatrices* a, AlignmentCount* count);

}  // namespace saffron
