#pragma once
// What a model family gives the trainer: reading its data, starting (solved or drawn), scoring,
// and, where it can be trained, losses and gradients. One file a family; trial_families.h lists
// them.

#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "core/layers/evaluation.h"
#include "core/math/parameter_arena.h"
#include "core/train/trainer.h"

namespace saffron {

// What RunTrial was given.
struct TrialInputs {
  const ResolvedVariant& variant;
  uint64_t seed;
  const std::string& data_fingerprint;
  const TrainerEnv& env;
  // Start only makes room: the parameters will be those of a checkpoint.
  bool given = false;
  // Of a transformer that is given: its shape (shape_json.h), which may say more than the variant.
  std::string shape = {};
  // What checkpoints say of the trial that this one starts from: a JSON object, or empty. Null:
  // from none.
  const std::string* init = nullptr;
  // Of a model that is given and only predicts, so that Load is not called: its Trainable::eod.
  std::optional<int32_t> eod = {};

  bool stopped() const { return env.stop != nullptr && env.stop->load(); }
  bool hands_back() const { return env.hand_back != nullptr && env.hand_back->load(); }
};

enum class Split { kTrain, kValid, kTest };

// How a model does on a split.
struct Score {
  int64_t targets = 0;
  double nats = 0;  // mean negative log-likelihood of a target
  std::optional<double> accuracy = {};
  std::optional<double> bits_per_byte = {};
};

// What backpropagation works on.
class Trainable {
 public:
  virtual ~Trainable() = default;
  // Training examples; they are numbered from 0.
  virtual int64_t examples() const = 0;
  // Targets in each of them: train.batch counts targets.
  virtual int64_t targets_per_example() const { return 1; }
  // Step `step` (from 1) is about to be taken, in one call of LossAndGradient or several: what is
  // drawn anew at every step (dropout) is drawn for it. 0: nothing is drawn from now on.
  virtual void BeginStep(int64_t step) {}
  // Mean loss of the examples at the present parameters; leaves its gradient in the arena.
  virtual double LossAndGradient(absl::Span<const int64_t> examples) = 0;
  virtual ParameterArena<float>& arena() = 0;
  // Parameters in the arena were replaced by those of another run: whatever follows
  // from them is to be brought up to date.
  virtual void ArenaRestored() {}
  // Of a transformer: its shape (shape_json.h), for checkpoints. Empty: the variant says it all.
  virtual std::string shape() const { return {}; }
  // Of a model whose checkpoints predict without the data: the id that ends a document.
  virtual std::optional<int32_t> eod() const { return std::nullopt; }
  // On the fixed sample of the validation split that learning curves are drawn on.
  virtual Evaluation EvaluateCurve() = 0;
  // Mean loss there of a model that knows only how frequent the classes are.
  virtual double PriorNats() const = 0;
};

class RoutingMetrics;

// Called in the order of declaration; the time of each is measured. Errors are RunTrial's.
class TrialModel {
 public:
  virtual ~TrialModel() = default;
  // Reads the data. Not called where inputs.eod: then NextTokenNats is all that may be asked.
  virtual absl::Status Load(const TrialInputs& inputs) = 0;
  // Counts, solves or draws the parameters. Where inputs.given, they need only their place.
  virtual absl::Status Start(const TrialInputs& inputs) = 0;
  // After Start. nullptr for models without gradients. Lives as long as the model.
  virtual Trainable* trainable() { return nullptr; }
  // With the present parameters.
  virtual absl::StatusOr<Score> Evaluate(Split split) = 0;
  // What the routers did when the test split was first evaluated. nullptr: there are none, or it
  // was not.
  virtual const RoutingMetrics* routing() const { return nullptr; }
  // -log P(token | tokens) for every token that may come next, with the present parameters.
  // INVALID_ARGUMENT: an id that is none. UNIMPLEMENTED: the model reads no tokens.
  virtual absl::StatusOr<std::vector<double>> NextTokenNats(absl::Span<const int32_t> tokens) {
    return absl::UnimplementedError(
        "models of this type give no distribution of the next token; `model eval` gives their "
        "loss");
  }
  // Adds "model/parameters" and what the solution chose ("solve/..."), by metric key.
  virtual void Describe(std::map<std::string, double>* metrics) const = 0;
};

}  // namespace saffron
