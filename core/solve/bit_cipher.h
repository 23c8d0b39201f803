#pragma once
// The bit-cipher: a deterministic code of few ones for every token, frequent tokens getting fewer.
// After Williams & Zhao, "Bit Cipher", arXiv:2311.11012, as described in words by the first
// author's public repository.

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "core/model/feature_tables.h"

namespace saffron {

// Codes of ranks 0 .. types-1, each the ascending list of its one-bits.
//   Weight 1: bits 0 .. b-1 for ranks 0 .. b-1. Weight k: for bit i = b-1 .. 0 (outer), for each
//   code c of weight k-1, last assigned first (inner): if i is not in c and c + {i} is unused, it
//   is next.
// INVALID_ARGUMENT unless 2^bits > types.
absl::StatusOr<std::vector<std::vector<int32_t>>> BitCipherCodes(int types, int bits);

// The codes as rows code/|code| (L1 norm 1), in the order of ids, which are ranks.
absl::StatusOr<SparseRows> BitCipherRows(int types, int bits);

}  // namespace saffron
