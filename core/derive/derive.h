#pragma once
// A trained transformer grown by a list of operators into a larger one that computes the same.
//
// Arithmetic is double throughout; whoever stores the child in float rounds it once, at the end.

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "core/derive/derive_op.h"
#include "core/derive/expansion.h"

namespace saffron {

// StateArray with its numbers in it.
struct StoredState {
  std::string tensor, slot;
  StateKind kind = StateKind::kFirst;
  StateMatrix matrix = {};
};

struct GrowableModel {
  TransformerShape shape;
  std::vector<double> parameters;       // as LayOut(shape) places them
  std::vector<StoredState> state = {};  // of its optimiser; empty: none is known, or it starts anew
};

// Parameters of a new model of that shape, [LayOut(shape).size]: what free entries are taken from.
using FreshModel = std::function<std::vector<double>(const TransformerShape& shape, uint64_t seed)>;

// Applies the operators one after the other; each draws with a seed of its own that follows from
// `seed` (and is not `seed`, from which the parent may have been drawn). State moves
// with its tensors: divided by what its parameters were multiplied by (squares by its square), zero
// where they are new. INVALID_ARGUMENT: an operator does not apply (names it); the parent's
// parameters or state do not fit its shape.
absl::StatusOr<GrowableModel> Derive(GrowableModel parent, const std::vector<DeriveOp>& ops,
                                     const FreshModel& fresh, uint64_t seed);

}  // namespace saffron
