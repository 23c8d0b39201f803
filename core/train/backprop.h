#pragma once
// The optimisation loop, the same for every model: batches, schedule, clipping, learning curve,
// early stopping, keeping the best parameters, divergence.
//
// Backpropagation visits the whole training stream, the blocks included that the explicit solution
// holds out of its counts to calibrate on: a random start has no use for a hold-out, and both
// starts are to be trained on the same examples.

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "core/optim/optimizer.h"
#include "core/train/beginning.h"
#include "core/train/trial_model.h"

namespace saffron {

// The optimiser that the variant's train.* keys describe.
absl::StatusOr<std::unique_ptr<Optimizer<float>>> MakeOptimizerOf(const ResolvedVariant& variant);

struct BackpropReport {
  bool diverged = false;
  std::string message;  // why it diverged
  // Whether the arena holds a model whose evaluation was finite and no blow-up: a run that diverged
  // has one where one was remembered.
  bool has_good = true;
  bool has_last = false;  // whether the state was saved as "last"
  int64_t steps_done = 0;
  int64_t best_step = 0;   // of the best evaluation with train.keep best, else the last
  int64_t model_step = 0;  // of the parameters left in the arena
  int64_t evaluated_targets = 0;
  int64_t frozen_parameters = 0;  // that train.freeze kept out
  // With train.ema: the parameters without averaging, of the same step; the arena has the average.
  std::vector<float> unaveraged;
  double train_loss = 0;  // of the last stretch between evaluations
  double train_seconds = 0;
  double evaluate_seconds = 0;
  double earlier_seconds = 0;  // of both: in attempts before, whose state this one went on from
};

// Runs train.steps steps on the model's parameters and leaves in them what train.keep asks for; the
// best so far when it diverges, where checkpoints are asked for or train.keep is best.
// Records "train/loss", "valid/nats_per_token" and "valid/perplexity" at every evaluation; the
// first is before step 1. With train.ema the latter two are of the averaged parameters, and
// "raw/valid/nats_per_token" is of the others. Prepares `optimizer`, which goes on with what
// `beginning` has for it. CANCELLED when stopped.
absl::StatusOr<BackpropReport> Backpropagate(const TrialInputs& inputs, Beginning& beginning,
                                             Optimizer<float>& optimizer, Trainable& model,
                                             MeasurementSink& sink);

// The most examples that LossAndGradient is given at once: train.batch, or a part of it with
// train.accumulate; 1024 for a variant without steps.
int64_t LargestBatch(const ResolvedVariant& variant);

// Steps between evaluations: train.eval_every, or for 0 a tenth of the steps, rounded up, but not
// fewer than five, so that short runs are not mostly evaluation.
int64_t EvaluationInterval(const ResolvedVariant& variant);

}  // namespace saffron
