#pragma once
// A model out of a checkpoint, without the run that made it.
//
// The file holds what was trained. What follows from the data (vocabulary, features, statistics) is
// made again from the corpus of the same fingerprint, which must be at hand. A transformer's
// predictions need nothing but the file; measuring it needs the data all the same.

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "core/checkpoint/safetensors.h"
#include "core/train/training_state.h"
#include "core/train/trial_model.h"

namespace saffron {

// Not thread-safe.
class StoredModel {
 public:
  enum class Purpose { kMeasure, kPredict };
  // NOT_FOUND: no such file. INVALID_ARGUMENT: the file is no checkpoint, or not of the model that
  // it names. FAILED_PRECONDITION: its corpus is not here, or holds other bytes now.
  static absl::StatusOr<std::unique_ptr<StoredModel>> Open(const std::string& path,
                                                           const TrainerEnv& env,
                                                           Purpose purpose = Purpose::kMeasure);

  const CheckpointHeader& header() const { return header_; }
  // Of a model that was opened to measure it: metrics on a split, by the keys and with the bits
  // that the trial itself reports them.
  absl::StatusOr<std::map<std::string, double>> Evaluate(Split split);
  // Puts other parameters into it, of the same tensors: as many as its arena has, and placed so.
  void TakeParameters(absl::Span<const float> parameters);
  absl::StatusOr<std::vector<double>> NextTokenNats(absl::Span<const int32_t> tokens) {
    return model_->NextTokenNats(tokens);
  }

 private:
  StoredModel() = default;
  CheckpointHeader header_;
  Purpose purpose_ = Purpose::kMeasure;
  std::unique_ptr<TrialModel> model_;
};

}  // namespace saffron
