#pragma once
// Where a transformer starts that nothing is known of.

#include <cstdint>
#include <vector>

#include "core/transformer/transformer_shape.h"

namespace saffron {

// Parameters as LayOut(shape) places them, [LayOut(shape).size]:
//   matrices          normal, of deviation 0.5 / sqrt(inputs), which is GPT-2's 0.02 at its width;
//                     inputs: rows, of an embedding its width. What writes to the residual stream
//                     (attn.wo, w2 of MLPs) over the root of twice the number of layers, so that
//                     their sum keeps its size (Radford et al., GPT-2, 2019, section 2.3)
//   gains, multiplicative unit biases   1;    biases   0
// A draw is a function of seed, tensor and place: a tensor is the same in every model that has it.
std::vector<double> DrawTransformer(const TransformerShape& shape, uint64_t seed);

}  // namespace saffron
