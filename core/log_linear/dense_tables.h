#pragma once
// Dense evidence: what codes and context vectors of the tokens before a target say about it, as the
// explicit solution of one softmax layer over them gives it.
//
//   r_k(t) = X_k(t)' R_k,   R_k = pmi(F_k), shrunk (core/solve/key_counts.h),   F_k = sum_t X_k(t)
//   y_t'
//
// over keys k: x, the bit-cipher code of the token at a lag; c, its context vector; r, the mean
// code of the last tokens. Beside n-grams it speaks where those have seen nothing: of tokens by
// what they have in common with others.

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "core/data/data_store.h"
#include "core/log_linear/tuple_counts.h"
#include "core/math/matrix.h"
#include "core/model/feature_tables.h"
#include "core/model/saffu_params.h"
#include "core/solve/saffu_spec.h"
#include "core/solve/statistics_cache.h"

namespace saffron {

// Of a key: R, and what it was made from, to leave single targets out.
template <typename T>
struct DenseTable {
  Matrix<T> r;               // [b, V] of an x key, whose vectors have a few non-zeros; else empty
  Vector<T> packed;          // R for GemmPacked, of the other keys
  Matrix<float> counts;      // [V, b] F'
  std::vector<double> mass;  // [b] F_j.
  // [b, V] what training has added to R since it was solved; null: nothing. Not owned.
  const T* learnt = nullptr;
};

template <typename T>
struct DenseTables {
  // Of `spec` its streams (none: no tables), bits, context, context_lags, radius, alpha (> 0) and
  // kappa. Counts the targets of all of data.train that are in `targets`, also in the context
  // vectors and the prior. INVALID_ARGUMENT when 2^bits <= vocab; errors of the cache, which keeps
  // the lag counts.
  static absl::StatusOr<DenseTables> Load(const SaffuSolveSpec& spec, const TextDataset& data,
                                          const TargetSet& targets, StatisticsCache& cache);

  // Numbers in R.
  int64_t entries() const;

  std::vector<KeySpec> keys;
  FeatureTables features;
  std::vector<DenseTable<T>> tables;  // by key
  std::vector<int64_t> token_counts;  // [V]
  std::vector<int64_t> followers;     // [V] how many targets came right after each token
  std::vector<double> p;              // [V] the prior that evidence is relative to
  double alpha = 0, kappa = 0;
};

}  // namespace saffron
