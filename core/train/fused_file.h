#pragma once
// Two checkpoints of one architecture averaged into one, unit by unit (core/derive/align.h), next
// to the plain average that this has to beat.
//
// The fused file has the metadata of the second parent, for its sizes are that one's, and in the
// place of where that one came from "fused": a JSON object with "weight", the parents "a" and "b"
// ("sha256", "seed", "step"), "units", "moved", and "measured" (metrics of a, b, average, fused;
// absent when they were not measured). Optimiser state is not carried: moments of two runs do not
// add up to those of any.

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "core/checkpoint/safetensors.h"
#include "core/derive/align.h"
#include "core/math/parameter_arena.h"
#include "core/train/trainer.h"

namespace saffron {

struct FusedModel {
  std::vector<ParameterTensor> layout;  // of `average` and `fused`
  std::vector<float> average, fused;    // (1 - weight) A + weight B as they are; with A aligned
  AlignmentCount aligned;
  // Euclidean distance of the parents' parameters, before and after A was aligned.
  double distance = 0, distance_aligned = 0;
  // Why their residual streams may have nothing in common; empty when the files say that they began
  // as one model, or where there is none.
  std::string doubt;
  std::map<std::string, std::string> metadata;  // of the file to write
};

// `weight` in [0, 1] is that of `b`. Arithmetic is in double, rounded once at the end. Errors of
// SafetensorsFile::Open; INVALID_ARGUMENT: a file is no checkpoint or not of the model that it
// names, the model is of a kind that has no units to match, or the two differ in data, vocabulary
// or architecture (names the first key that differs, and both values).
absl::StatusOr<FusedModel> FuseFiles(const std::string& a, const std::string& b, double weight);

// Metrics on a split, of "a", "b", "average" and "fused".
using FusionMetrics = std::map<std::string, std::map<std::string, double>>;
// On the validation split, as trials measure it. Errors of StoredModel::Open (FAILED_PRECONDITION:
// the corpus is not here) and Evaluate.
absl::StatusOr<FusionMetrics> MeasureFusion(const std::string& a, const std::string& b,
                                            const FusedModel& model, const TrainerEnv& env);

// Errors of WriteSafetensors.
absl::StatusOr<WrittenFile> WriteFused(const std::string& to, const FusedModel& model,
                                       const FusionMetrics& measured);

}  // namespace saffron
