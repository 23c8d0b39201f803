#pragma once
// One assignment executed: from the wire's Assignment to the trainer and back to an AttemptResult.

#include <atomic>
#include <functional>
#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "core/train/trainer.h"
#include "saffron/v1/worker.pb.h"

namespace saffron {

// What a trial may be told, and where its files are: as in TrainerEnv.
struct TrialControls {
  const std::atomic<bool>& stop;
  const std::atomic<bool>& hand_back;
  CheckpointPlan checkpoints = {};
  std::string resume_from = {};
  // Of an assignment with init_from: SlotFiles::init_from and init_missing.
  std::string init_from = {};
  std::string init_missing = {};
};

// Of a trial that never began because its corpus cannot be opened here; `why` says it for people.
absl::Status NoCorpusError(const absl::Status& why);
bool IsNoCorpus(const absl::Status& status);
// The corpus that the trial reads; without a fingerprint where it reads none.
v1::CorpusRef CorpusOf(const v1::Assignment& assignment);

// Trains what is assigned; the errors are RunTrial's, and NoCorpusError. Tests put their own in its
// place.
using TrialBody = std::function<absl::StatusOr<TrialResult>(
    const v1::Assignment& assignment, const TrialControls& controls, MeasurementSink& sink)>;

// What the attempt came to. A status becomes a failure class: RESOURCE_EXHAUSTED is OUT_OF_MEMORY,
// the rest ERROR, with the corpus named where that is what is missing. (Of a trial that was told to
// stop, SlotProcess says why.) The final metrics carry the number of steps done.
v1::AttemptResult ResultOf(const v1::Assignment& assignment,
                           const absl::StatusOr<TrialResult>& result, absl::Time started,
                           absl::Time ended);

v1::AttemptResult FailedResult(const v1::AttemptRef& ref, v1::FailureClass failure_class,
                               std::string message);

}  // namespace saffron
