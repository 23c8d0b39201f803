#pragma once
// A model out of a checkpoint, without the run that made it.
//
// The file holds what was trained. What follows from the data (vocabulary, features, statistics) is
// made again from the corpus of the same fingerprint, which must be at hand.

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
  // NOT_FOUND: no such file or corpus. INVALID_ARGUMENT: the file is no checkpoint, or not of the
  // model that it names. FAILED_PRECONDITION: the corpus holds other bytes now.
  static absl::StatusOr<std::unique_ptr<StoredModel>> Open(const std::string& path,
                                                           const TrainerEnv& env);

  const CheckpointHeader& header() const { return header_; }
  // Metrics on a split, by the keys and with the bits that the trial itself reports them.
  absl::StatusOr<std::map<std::string, double>> Evaluate(Split split);
  absl::StatusOr<std::vector<double>> NextTokenNats(absl::Span<const int32_t> tokens) {
    return model_->NextTokenNats(tokens);
  }

 private:
  StoredModel() = default;
  CheckpointHeader header_;
  std::unique_ptr<TrialModel> model_;
};

}  // namespace saffron
