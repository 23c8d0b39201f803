#pragma once
// The last digits of a readout: full-batch L-BFGS on a bounded sample of the training examples,
// from where the explicit solution or backpropagation ended.
//
// A softmax readout over fixed features is convex, so that this finds the sample's optimum, which
// first-order steps only approach. The sample is not the text: every iteration is evaluated on the
// validation split, and the best parameters are kept, the start included. Michaud et al.,
// "Precision machine learning", 2022, section 4.2, has the method.

#include <cstdint>

#include "absl/status/statusor.h"
#include "core/train/trial_model.h"

namespace saffron {

struct PolishReport {
  int64_t iterations = 0;           // done
  int64_t best_iteration = 0;       // of the parameters left in the arena; 0: the start
  double start_loss = 0, loss = 0;  // on the sample, at the start and at the end
  int64_t trained_targets = 0, evaluated_targets = 0;
  int64_t parameters = 0;  // that were free to move
};

// Changes the tensors that train.polish_on chooses, in at most train.polish iterations on
// train.polish_examples examples. Records "polish/loss" and "polish/valid_nats_per_token" by
// iteration. INVALID_ARGUMENT when train.polish_on fits no tensor; CANCELLED when stopped.
absl::StatusOr<PolishReport> Polish(const TrialInputs& inputs, Trainable& model,
                                    MeasurementSink& sink);

}  // namespace saffron
