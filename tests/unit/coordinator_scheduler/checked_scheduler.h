#pragma once
// A scheduler whose every step is checked, and the events that tests make.

#include <string>
#include <string_view>
#include <vector>

#include "coordinator/scheduler/invariants.h"
#include "coordinator/scheduler/scheduler.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace saffron {

// A scheduler whose every step is checked against the invariants and replayed into a ledger.
class Checked {
 public:
  explicit Checked(Scheduler::Options options = {}) : scheduler(options) {}

  Effects Do(const Event& event) {
    Effects effects = scheduler.Apply(event, now);
    ledger.Record(effects);
    ledger.Compare(scheduler);
    EXPECT_THAT(ledger.violations(), testing::IsEmpty());
    EXPECT_THAT(FindViolations(scheduler), testing::IsEmpty());
    return effects;
  }
  Effects After(absl::Duration wait) {
    now += wait;
    return Do(Tick{});
  }
  void Join(WorkerId worker, int slots = 1, const std::string& host = "") {
    Do(WorkerJoined{worker, slots, host});
  }
  // A worker with nothing in hand asks for `want`.
  Effects Ask(WorkerId worker, int want = 1) {
    return Do(WorkerSynced{.worker = worker, .want = want});
  }
  Effects Report(WorkerId worker, AttemptReport report, int want = 0) {
    return Do(WorkerSynced{.worker = worker, .finished = {report}, .want = want});
  }
  std::string_view StateOf(int64_t trial) const {
    return TrialStateName(scheduler.FindTrial(TrialId{trial})->state);
  }

  absl::Time now = absl::UnixEpoch() + absl::Hours(1);
  Scheduler scheduler;
  EffectLedger ledger;
};

template <typename T>
std::vector<T> Only(const Effects& effects) {
  std::vector<T> found;
  for (const Effect& effect : effects) {
    if (const T* e = std::get_if<T>(&effect)) found.push_back(*e);
  }
  return found;
}

inline std::vector<int64_t> AssignedTrials(const Effects& effects) {
  std::vector<int64_t> trials;
  for (const AttemptAssigned& e : Only<AttemptAssigned>(effects))
    trials.push_back(e.attempt.trial.value);
  return trials;
}

inline RoadmapChanged Roadmap(RoadmapId roadmap, std::vector<int64_t> trials,
                              RetryBudgets retry = {}) {
  RoadmapChanged event{.roadmap = roadmap, .policy = {.retry = retry}};
  for (int64_t trial : trials) {
    event.trials.push_back({.trial = TrialId{trial},
                            .position = static_cast<int64_t>(event.trials.size()),
                            .cost_seconds = 10});
  }
  return event;
}

inline AttemptReport Succeeded(int64_t trial, int attempt) {
  return {.attempt = {TrialId{trial}, attempt}, .outcome = Outcome::kSucceeded};
}
inline AttemptReport Failed(int64_t trial, int attempt, FailureClass failure) {
  return {.attempt = {TrialId{trial}, attempt},
          .outcome = Outcome::kFailed,
          .failure = failure,
          .message = "why"};
}

}  // namespace saffron
