#pragma once
// Softmax cross-entropy of rows of logits, with label smoothing.
//   q = (1 - smoothing) onehot(y) + smoothing / classes
//   loss = -sum_i q_i log p_i = logsumexp z - (1 - smoothing) z_y - smoothing mean z
//   dz = p - q
// Szegedy et al., "Rethinking the Inception architecture", 2016, section 7.

#include <cstdint>

#include "core/layers/evaluation.h"
#include "core/transformer/linear.h"

namespace saffron {

// A row that is left out: no loss, no gradient.
inline constexpr int32_t kIgnoredTarget = -1;

// Sum of the losses of the rows' targets; z becomes scale dz (zero in rows that are left out).
template <typename T>
double CrossEntropyGradient(int64_t rows, int64_t classes, const int32_t* targets, double smoothing,
                            double scale, Rows<T> z);

// Counts the rows in, without smoothing. Leaves z as it is.
template <typename T>
void CrossEntropyEvaluate(int64_t rows, int64_t classes, const int32_t* targets, Rows<T> z,
                          Evaluation& result);

}  // namespace saffron
