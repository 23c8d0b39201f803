#pragma once
namespace saffron {

// Part of every trial's identity. Bump it in any change after which the same variant, seed and data
// would give other numbers: stored results of older versions are then never reused.
inline constexpr int kNumericsVersion = 2;

// The same of products in bfloat16 (core/math/bf16_gemm.h and what core/transformer does with
// them): part of the identity of variants with train.precision bf16 alone (core/model/
// own_numerics.h), so that a change of those computes nothing else again. Version 1 had no name.
inline constexpr int kBf16NumericsVersion = 2;

// The same of leaving targets out of continuation counts that a template beside the chain needs,
// but the chain does not (core/log_linear/position_evidence.h): part of the identity of log-linear
// variants with such a template, whose training, and score on the training split, go by it.
inline constexpr int kLeftOutNumericsVersion = 2;

// The same of readouts solved on hidden states (core/train/readout_start.h): part of the identity
// of transformers that start with one.
inline constexpr int kReadoutNumericsVersion = 3;

}  // namespace saffron
