#pragma once
// Counts of all keys of a layer, each from where it is cheapest: token keys from cached lag counts,
// the others from a pass over the stream.

#include <vector>

#include "absl/status/statusor.h"
#include "core/solve/holdout.h"
#include "core/solve/key_counts.h"
#include "core/solve/key_window.h"
#include "core/solve/layer_solve.h"

namespace saffron {

// F_k of every key over one part of the targets, [NK]. `window` is over problem.data.train.
absl::StatusOr<std::vector<KeyCounts>> CountKeys(const LayerProblem& problem,
                                                 const HoldoutRule& rule, Part part,
                                                 KeyWindow* window);

}  // namespace saffron
