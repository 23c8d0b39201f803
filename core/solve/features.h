#pragma once
// Token features: bit-cipher codes, plain or noisy, and context vectors counted with them.

#include <memory>

#include "absl/status/statusor.h"
#include "core/data/data_store.h"
#include "core/model/feature_tables.h"
#include "core/solve/count_table.h"
#include "core/solve/saffu_spec.h"
#include "core/solve/statistics_cache.h"

namespace saffron {

// Cipher codes of `width` bits, [V, width], rows of L1 norm 1: the soft targets of lower layers.
SparseRows CipherTargets(int vocab, int width);

// Feature tables of the spec over a data set (context vectors are counted from the training stream
// without its hold-out). INVALID_ARGUMENT when 2^bits <= vocab or the stream is too short to hold
// anything out (fewer than 64 tokens).
absl::StatusOr<std::shared_ptr<const FeatureTables>> BuildFeatures(const SaffuSolveSpec& spec,
                                                                   const TextDataset& data,
                                                                   StatisticsCache& cache);

// The parts, for tests and the curious.
// Cipher rows of `kind`: code/|code| (kL1), the code's ones (kBinary), or (1-noise) code/|code|
// plus `noise` spread over the zero cells by draws that depend on (seed, cell) alone (kNoisy).
absl::StatusOr<SparseRows> CipherFeatures(int vocab, int bits, FeatureKind kind, double noise,
                                          uint64_t seed);
// Rows proportional to sum_i C_1[w,i] E[i] + mu with mu the mean row of E, scaled to L1 norm 1:
// what code tends to follow w. Summed in double by ascending i.
Matrix<float> ContextVectors(const CountTable& lag1, const SparseRows& cipher);

}  // namespace saffron
