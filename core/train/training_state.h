#pragma once
// What a run leaves on disk on its way, so that another process can go on from there and give the
// same bits: parameters, the optimiser's state, the best parameters so far, and where the run
// stands. Batches and other draws are functions of the seed and the step and need no state.
//
// A safetensors file:
//   NAME                       parameters by the names of ParameterArena::tensors()
//   optimizer.SLOT/NAME        of the optimiser: StateArray::slot, its shape
//   average/NAME               the moving average of the parameters, with train.ema
//   best/NAME                  the best parameters so far, where they are kept; with train.ema they
//                              are averages, and best_unaveraged/NAME is what was averaged
//   curve.step, curve.value    the learning curve so far; curve.key: index into "curve_keys"
//   metadata                   "format" saffron, "content" state (or model), the trial ("variant"
//                              as JSON, "seed", "data", "numerics", of some variants
//                              "numerics.PART", own_numerics.h), "step", "progress" (JSON), of a
//                              transformer its "shape" (shape_json.h) and the id that ends a
//                              document, "eod", and of a trial that started from another one's
//                              model "init_from" (JSON)

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "core/checkpoint/safetensors.h"
#include "core/math/parameter_arena.h"
#include "core/optim/optimizer.h"
#include "core/train/trial_model.h"

namespace saffron {

// Where a run stands, the arena apart.
struct TrainingState {
  int64_t step = 0;  // steps done
  // Steps that the optimiser counts: more, where it goes on with the state of a parent's.
  int64_t optimizer_steps = 0;
  int64_t evaluated_targets = 0;
  double train_loss = 0;  // of the last stretch between evaluations
  double loss_sum = 0;    // since the last evaluation
  int64_t losses = 0;
  double train_seconds = 0, evaluate_seconds = 0;
  // The best evaluation so far.
  int64_t best_step = 0;
  double best_nats = 0;
  int64_t evaluations_since = 0;
  std::vector<float> best_parameters;  // as in the arena; empty where they are not kept
  std::vector<float> best_unaveraged;  // likewise; empty without a moving average
  std::vector<Measurement> curve;      // everything recorded so far
};

// The memory of a run that its state is read from and into.
struct RunMemory {
  Trainable& model;
  Optimizer<float>& optimizer;  // prepared
  absl::Span<float> average;    // as the model's arena; empty when there is none
};

// What a file says of the trial that it belongs to.
struct CheckpointHeader {
  Params params;
  uint64_t seed = 0;
  std::string data_fingerprint;
  int numerics = 0;
  std::string content;  // "state", "model" or "routing" (routing_file.h)
  int64_t step = 0;
  int64_t optimizer_steps = 0;  // of a state
};

// The keys and values of a JSON object. INVALID_ARGUMENT when it is something else.
absl::StatusOr<Params> ParamsFromJson(const std::string& text);

// What every file of a trial says in its metadata: the fields of a CheckpointHeader, and what the
// trial started from.
std::map<std::string, std::string> TrialMetadata(const TrialInputs& inputs,
                                                 const std::string& content, int64_t step);

// INVALID_ARGUMENT when the file is no checkpoint of this program.
absl::StatusOr<CheckpointHeader> ReadCheckpointHeader(const Safetensors& file);

absl::StatusOr<WrittenFile> WriteTrainingState(const std::string& path, const TrialInputs& inputs,
                                               const TrainingState& state, RunMemory memory);

// A model without the state of a run: its parameters.
absl::StatusOr<WrittenFile> WriteModel(const std::string& path, const TrialInputs& inputs,
                                       int64_t step, Trainable& model);

// Fills the arena's parameters from a model or a state. INVALID_ARGUMENT naming the tensor that is
// missing or has another shape.
absl::Status ReadModel(const Safetensors& file, ParameterArena<float>& arena);

// Fills the memory and returns the rest. NOT_FOUND: no such file. INVALID_ARGUMENT: no safetensors
// file, or not with what this model and optimiser need. FAILED_PRECONDITION: it belongs to another
// trial (names what differs). On error the memory may be half filled.
absl::StatusOr<TrainingState> ReadTrainingState(const std::string& path, const TrialInputs& inputs,
                                                RunMemory memory);

}  // namespace saffron
