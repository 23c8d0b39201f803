#pragma once
// One trial from a variant and a seed to its metrics: explicit solve first, backpropagation after.
// Runs on the calling thread alone. The same build, variant, seed and data give the same bits for
// every metric that registry.h calls deterministic, whether statistics came from a cache or not.

#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

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

// A checkpoint that is on disk.
struct SavedCheckpoint {
  std::string path, sha256;
  int64_t bytes = 0;
  int64_t step = 0;
  // "checkpoint": a model, for good; "trace": what routers did (routing_file.h), for good
  std::string kind = "state";
  std::string role = {};  // of a checkpoint: "best" or "last"; of a trace: "routing"
};

// When a run leaves its state on disk (training_state.h). It never changes what is computed.
struct CheckpointPlan {
  // Files are PREFIX-STEP.safetensors; removing them is the caller's business. Empty: none.
  std::string prefix = {};
  // Seconds of training between two. A state that took long to write puts the next one off, so
  // that writing takes at most `share` of the time.
  double every_s = 120;
  double share = 0.05;
  // A run that is told to stop and hand back leaves its state if that saves so many seconds of
  // training.
  double worth_s = 1;
  // Which checkpoints a trial leaves when it has a result, as PREFIX-ROLE.safetensors: the model
  // that its metrics are of ("best"), the state after its last step ("last"). One that diverged
  // leaves the best model that it had at an evaluation before ("best", where there was one), and
  // the last state as far as all of it is finite, else that model ("last").
  std::vector<std::string> keep = {};
  // Whether a trial of a model with routers leaves what they did, as PREFIX-routing.safetensors.
  bool keep_routing = false;
  // Hears of each, on the trial's thread; of errors too (the run goes on without).
  std::function<void(const absl::StatusOr<SavedCheckpoint>&)> on_saved = {};
};

// A checkpoint of another trial, as a start.
struct StartFrom {
  std::string path = {};     // empty: it is not to be had
  std::string missing = {};  // why not, and what to do
  std::string sha256 = {};   // of the file
  // What is done to the model before training (core/derive/derive_op.h), in order; for transformers
  // alone. None: what makes it as large as the variant wants it (core/derive/ops_between.h), which
  // is nothing for a model of the same size.
  std::vector<std::string> derive = {};
  // Whether the optimiser goes on with what it remembered of the parent's steps, where the file
  // holds that ("last" checkpoints of the same optimiser do), or starts anew.
  bool keep_state = true;
};

struct TrainerEnv {
  DataStore* data = nullptr;
  StatisticsCache* statistics = nullptr;
  // When it becomes true, the trial returns CANCELLED at the next step. May be null.
  const std::atomic<bool>* stop = nullptr;
  // Whether a run that is told to stop leaves its state first; set before `stop`. May be null: no.
  const std::atomic<bool>* hand_back = nullptr;
  CheckpointPlan checkpoints = {};
  // The state that a run of the same trial left: this one goes on from there. It records the whole
  // learning curve again, and its metrics are bit for bit those of a run that was never stopped.
  // Empty: from the start.
  std::string resume_from = {};
  // This trial's parameters start at those of another trial's model instead of being solved or
  // drawn. Its steps, schedule and batches start at 0 all the same.
  std::optional<StartFrom> init_from = {};
};

// INVALID_ARGUMENT: the variant cannot be trained (says why). NOT_FOUND: its corpus is missing.
// FAILED_PRECONDITION: the corpus's fingerprint is not `data_fingerprint` (the corpus changed under
// the same name), or the state to resume from is another trial's, or the checkpoint to start from
// is missing, has another vocabulary or another shape, or cannot be grown exactly. DATA_LOSS: such
// a file cannot be read. CANCELLED:
// stopped. RESOURCE_EXHAUSTED: out of memory. Divergence (a loss that is not finite, or above ten
// times the unigram's after the first evaluation) is an outcome, no error.
absl::StatusOr<TrialResult> RunTrial(const ResolvedVariant& variant, uint64_t seed,
                                     const std::string& data_fingerprint, const TrainerEnv& env,
                                     MeasurementSink& sink);

}  // namespace saffron
