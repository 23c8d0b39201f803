#pragma once
// Where a transformer starts that nothing is known of.

#include <cstdint>
#include <vector>

#include "core/transformer/transformer_shape.h"

namespace saffron {

// Parameters as LayOut(shape) places them, [LayOut(shape).size]:
//   embeddings        N(0, 0.02^2)
//   other matrices    N(0, 1 / rows), so that they keep the size of what they read; what writes to
//                     the residual stream (attn.wo, mlp.w2) over the root of twice the number of
//                     layers, so that their sum does (Radford et al., GPT-2, 2019, section 2.3)
//   gains, multiplicative unit biases   1;    biases   0
// A draw is a function of seed, tensor and place: a tensor is the same in every model that has it.
std::vector<double> DrawTransformer(const TransformerShape& shape, uint64_t seed);

}  // namespace saffron
