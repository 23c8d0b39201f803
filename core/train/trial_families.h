#pragma once
// The model families by name of `model.type`. A new one is a file, a line here and a line in the
// table of trainer.cc.

#include <memory>

#include "core/train/trial_model.h"

namespace saffron {

std::unique_ptr<TrialModel> MakeSaffuTrial();
std::unique_ptr<TrialModel> MakeOneHotTrial();  // softmax_regression, model.input onehot
std::unique_ptr<TrialModel> MakePixelTrial();   // softmax_regression, model.input pixels
std::unique_ptr<TrialModel> MakeTransformerTrial();
std::unique_ptr<TrialModel> MakeMlpTrial();  // on pixels
std::unique_ptr<TrialModel> MakeKneserNeyTrial();
std::unique_ptr<TrialModel> MakeLogLinearTrial();
std::unique_ptr<TrialModel> MakeUnigramTrial();

// The one for the variant's model.type; nullptr for noop, which has no model.
std::unique_ptr<TrialModel> MakeTrialModel(const ResolvedVariant& variant);

// Trains nothing and reads no data: sleeps for model.sleep_ms (watching the stop flag) and ends as
// model.behaviour says. Metrics are drawn from the seed.
absl::StatusOr<TrialResult> RunNoopTrial(const TrialInputs& inputs, MeasurementSink& sink);

}  // namespace saffron
