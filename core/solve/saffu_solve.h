#pragma once
// The explicit solution of a SAFFU model: features, counts, closed-form weights, gains and
// attention, layer by layer, without a gradient of any weight.
//
// After Williams & Zhao, arXiv:2311.07510 (SAFFU) and arXiv:2311.07498 (explicit solution of
// single-layer softmax networks); the equations are this project's own and stand beside their code.

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "core/data/data_store.h"
#include "core/model/feature_tables.h"
#include "core/model/saffu_params.h"
#include "core/solve/features.h"
#include "core/solve/saffu_spec.h"
#include "core/solve/statistics_cache.h"

namespace saffron {

struct SaffuLayerSolution {
  SaffuLayerParams<float> params;
  std::vector<double> gains;  // lambda of each key, [NK]
  double alpha = 0;           // the prior mass used
  double kappa = 0;
  double gamma = 0;         // the attention's scale; 0 when static
  bool recounted = false;   // U comes from attention-weighted counts
  double holdout_nats = 0;  // per hold-out token (cross-entropy with soft targets below the top)
  double holdout_static_nats = 0;  // the same before attention
};

struct SaffuSolution {
  std::shared_ptr<const FeatureTables> features;
  std::vector<SaffuLayerSolution> layers;  // bottom first
  double holdout_perplexity = 0;           // of the top layer
  // CPU seconds of each stage ("count", "calibrate", ...); not deterministic.
  std::map<std::string, double> seconds;
};

// Solves bottom-up. Everything but `seconds` is a function of (spec, streams) alone, bit for bit,
// whatever the cache holds. Runs on the calling thread. Of `data` it reads train, vocab, eod and
// stream_key only. Counts and the whole solution go through the cache, so that variants that differ
// in training alone, and replicates, solve once.
// INVALID_ARGUMENT for a spec out of range and where BuildFeatures gives it.
absl::StatusOr<SaffuSolution> SolveSaffu(const SaffuSolveSpec& spec, const TextDataset& data,
                                         StatisticsCache& cache);

// The same without looking for, or keeping, the solution: only counts go through the cache.
absl::StatusOr<SaffuSolution> SolveSaffuAfresh(const SaffuSolveSpec& spec, const TextDataset& data,
                                               StatisticsCache& cache);

}  // namespace saffron
