#pragma once
// What must hold at all times, checked from the outside: the scheduler's indexes against its
// trials, and the sequence of its effects against what a results database may record. For tests and
// checks of stored histories; O(everything).

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "coordinator/scheduler/event.h"
#include "coordinator/scheduler/scheduler.h"

namespace saffron {

// What is wrong inside the scheduler, one sentence each; empty when nothing is.
std::vector<std::string> FindViolations(const Scheduler& scheduler);

// A text that two schedulers share only if the same events have the same effects on both from now
// on: so that a search need not visit a state twice.
std::string Fingerprint(const Scheduler& scheduler, absl::Time now);

// Replays effects as the store would record them, and notes whatever must never be recorded: an
// attempt number used twice, two open attempts of one trial, a second result, a result changed,
// an attempt ended twice, a repeated attempt that is not open. Copyable, so that a search can
// branch.
class EffectLedger {
 public:
  // What the store knew before the first effect: as for Scheduler's snapshot. `attempts` of a trial
  // are taken to be ended, but the newest of a leased one.
  EffectLedger() = default;
  explicit EffectLedger(const Scheduler::Snapshot& snapshot);

  void Record(const Effects& effects);
  // Whether scheduler and ledger tell the same of every trial that the ledger has heard of.
  void Compare(const Scheduler& scheduler);
  const std::vector<std::string>& violations() const { return violations_; }
  // As for a scheduler: what is recorded of each trial.
  std::string Fingerprint() const;

 private:
  struct Attempt {
    WorkerId worker;
    std::optional<Outcome> outcome = {};
    bool lost = false;
  };
  struct Trial {
    enum class State { kQueued, kLeased, kEnded } state = State::kQueued;
    Outcome outcome = Outcome::kCancelled;  // meaningful iff ended
    std::vector<Attempt> attempts;          // by number - 1
  };

  void On(const AttemptAssigned& effect);
  void On(const AttemptRepeated& effect);
  void On(const AttemptRecovered& effect);
  void On(const AttemptEnded& effect);
  void On(const TrialQueued& effect);
  void On(const TrialEnded& effect);
  void On(const AttemptAbandoned& effect);
  void On(const ReportAcknowledged& effect) {}
  void On(const WorkerLeft& effect);
  void On(const WantChanged& effect) {}
  void On(const DeadlineLifted& effect) {}
  void On(const PauseChanged& effect) {}
  void On(const PriorityChanged& effect) {}
  void On(const DrainChanged& effect) {}
  void On(const StandingChanged& effect) {}
  // Notes `rule` broken for the trial unless `holds`.
  bool Require(bool holds, TrialId trial, std::string_view rule);
  Attempt* Find(AttemptId attempt);

  std::map<TrialId, Trial> trials_;
  std::vector<std::string> violations_;
};

}  // namespace saffron
