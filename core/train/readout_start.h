#pragma once
// Where a transformer's readout starts when it is made from the hidden states h of the present
// network: those of a sample of training windows, and the tokens that follow them. Each sets
// readout (which must be untied) and readout_bias, weighed by one gain, and returns it; 0 leaves
// the log frequencies of tokens. The gain is the best on windows that what it weighs has not seen,
// up to a tenth of the text; their states are added once it is chosen. (A text of one window has no
// others.)

#include <cstdint>
#include <functional>

#include "absl/status/statusor.h"
#include "core/data/data_store.h"
#include "core/transformer/transformer_network.h"

namespace saffron {

// Ridge regression: with W = (H'H + r I)^-1 H'(Y - p), H and Y centred, log p(y|h) is
// log p_y + (h - mean h)' W_y / p_y to first order in W. Windows of `length` tokens.
// FAILED_PRECONDITION: H'H + r I is singular.
absl::StatusOr<double> SolveRidgeReadout(const TextDataset& data, int64_t length,
                                         TransformerNetwork<float>& network);

// Counted: what the explicit solution of a softmax layer on positive features says of x = (h - l)
// / s, where l has the least of every element of h, and s makes the elements of x add up to 1 on
// average. With the mass F_jy that feature j has on targets y, F_j its sum over y,
//   R_jy = log((F_jy + a p_y) / ((F_j + a) p_y)) m / (m + 1),   m = max(F_jy, F_j p_y),   a = 300
//   log p(y|h) ~ log p_y + gain sum_j x_j R_jy
// which is linear in h. It compares class means alone, so that features that say the same count as
// often as they say it; the gain makes up for that as far as one number can.
double SolveCountedReadout(const TextDataset& data, int64_t length,
                           TransformerNetwork<float>& network);

// The gain of least loss(gain), a convex function, of 0 and the powers of the square root of 2 from
// 2^-7.5 to 2^20.5. Within that factor of the minimum, where there is one between them. About ten
// calls; a loss that is not a number is worse than any.
double BestGain(const std::function<double(double)>& loss);

}  // namespace saffron
