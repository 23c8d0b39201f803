#pragma once
// What an optimiser remembered of a parent, put into the optimiser that trains the grown model.

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "core/derive/derive.h"
#include "core/optim/optimizer.h"

namespace saffron {

// Fills the arrays of a prepared optimiser from those of the same tensor and slot; squares that
// were kept element by element become means of rows and columns where the grown matrix is large
// enough for these. Arrays that `state` does not have stay zero. With any carried, the optimiser
// goes on after `steps_done`. Returns how many were carried: 0 from an optimiser of another kind.
// INVALID_ARGUMENT: an array has another shape than its tensor. Instantiated for float and double.
template <typename T>
absl::StatusOr<int64_t> CarryState(const std::vector<StoredState>& state, int64_t steps_done,
                                   Optimizer<T>& optimizer);

}  // namespace saffron
