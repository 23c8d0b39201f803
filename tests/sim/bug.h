#pragma once
// Bugs that a simulation can be given, to see its invariants catch them. They live in the
// simulation's doubles (network, disk, worker process) and in triggers of its database; the
// coordinator and the session are as they ship.

#include <string>

namespace saffron {

enum class Bug {
  kNone,
  // The network makes of "could not be recorded, try again" an acknowledgement.
  kAcknowledgesDespiteFailedCommit,
  // The disk claims to have synced, and a power cut shows that it had not.
  kDiskLiesAboutSyncs,
  // One measurement more is acknowledged than was sent.
  kMeasurementSkipped,
  // A measurement arrives a second time under another step.
  kMeasurementDoubled,
  // An older attempt of the same trial gets the result too.
  kTrialCountsTwice,
  // A trial with a result is queued again.
  kResultForgotten,
  // Failures of the past are forgotten whenever a trial is queued again.
  kBudgetForgotten,
  // A trial is given up for a failure that its budget allows.
  kBudgetIgnored,
  // The database does not keep that an attempt was made.
  kStateNotStored,
  // A failure is recorded as one of another class.
  kFailureMisfiled,
  // An attempt that was handed back stays open.
  kAttemptLeftOpen,
  // A result is recorded without its metrics.
  kResultWithoutMetrics,
  // The last point of a curve is acknowledged but not recorded.
  kMeasurementNotStored,
  // A cancelled trial stays queued in the database.
  kCancelNotStored,
  // An index of the scheduler drifts from its trials.
  kIndexDrifts,
  // A silent worker keeps its trials for ever.
  kLeaseNeverExpires,
  // Two assignments of one answer change places.
  kVariantsSwapped,
  // A trial starts from another checkpoint than its parent's.
  kModelsSwapped,
  // The folder of stored files loses one that is kept.
  kFileDeletedTooEarly,
  // A roadmap's priority is not recorded.
  kPriorityNotStored,
  // It is on record that a roadmap was paused, and trials of it are started.
  kPauseIgnored,
  // It is on record that a worker drains, and it gets work.
  kDrainIgnored,
  // It is on record that a machine is quarantined, and it gets work.
  kQuarantineIgnored,
  // What failed on a machine in quarantine is left at that.
  kFailuresLeftOnBadMachine,
  // Nobody remembers that a trial ended its workers.
  kPoisonIgnored,
  // A trial is started before what it starts from has its result.
  kParentNotAwaited,
  // A trial with a result is marked as an orphan.
  kOrphanNotCleared,
  // A worker that lacks a trial's corpus has failed it.
  kMissingCorpusCharged,
  // What workers say about corpora that they lack gets lost.
  kMissingCorpusUnheard,
};

// What the violation that the bug causes says.
struct PlantedBug {
  Bug bug;
  const char* name;
  const char* violation;
};

}  // namespace saffron
