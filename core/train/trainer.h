#pragma once
// One trial from a variant and a seed to its metrics: explicit solve first, backpropagation after.
// Runs on the calling thread alone. The same build, variant, seed and data give the same bits for
// every metric that registry.h calls deterministic, whether statistics came from a cache or not.

#include <atomic>
#include <cstdint>
#include <map>
#include <string>

#include "absl/status/statusor.h"
#include "core/data/data_store.h"
#include "core/model/variant.h"
#include "core/solve/statistics_cache.h"

namespace saffron {

struct Measurement {
  std::string key;   // "train/loss", "valid/nats_per_token", ...
  int64_t step = 0;  // optimisation steps done
  double value = 0;
};

// Receives the learning curve while the trial runs. Called on the trial's thread.
class MeasurementSink {
 public:
  virtual ~MeasurementSink() = default;
  virtual void Record(const Measurement& measurement) = 0;
};

enum class TrainOutcome { kSucceeded, kDiverged };

struct TrialResult {
  TrainOutcome outcome = TrainOutcome::kSucceeded;
  std::string message;                    // why it diverged; empty otherwise
  std::map<std::string, double> metrics;  // final values by key
};

struct TrainerEnv {
  DataStore* data = nullptr;
  StatisticsCache* statistics = nullptr;
  // When it becomes true, the trial returns CANCELLED at the next step. May be null.
  const std::atomic<bool>* stop = nullptr;
};

// INVALID_ARGUMENT: the variant cannot be trained (says why). NOT_FOUND: its corpus is missing.
// FAILED_PRECONDITION: the corpus's fingerprint is not `data_fingerprint` (the corpus changed under
// the same name). CANCELLED: stopped. RESOURCE_EXHAUSTED: out of memory. Divergence (a loss that is
// not finite, or above ten times the unigram's after the first evaluation) is an outcome, no error.
absl::StatusOr<TrialResult> RunTrial(const ResolvedVariant& variant, uint64_t seed,
                                     const std::string& data_fingerprint, const TrainerEnv& env,
                                     MeasurementSink& sink);

}  // namespace saffron
