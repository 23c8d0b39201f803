#pragma once
// What can happen to the scheduler, and what it decides. Both are plain data: an event is what the
// world did, an effect is what the store must record and whom to tell.

#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "absl/time/time.h"
#include "coordinator/scheduler/ids.h"
#include "coordinator/scheduler/needs.h"
#include "coordinator/scheduler/node_record.h"
#include "coordinator/scheduler/outcome.h"

namespace saffron {

// ---- Events

// A worker process introduced itself, or did so again. Attempts that it holds stay its own.
struct WorkerJoined {
  WorkerId worker;
  int slots = 1;
  std::string host = {};  // the machine, whose failures are counted; empty: unknown
  // Why it was told to drain before it was last given up.
  std::optional<std::string> drained = {};
};

// What a worker says about one of its attempts that ended.
struct AttemptReport {
  AttemptId attempt;
  Outcome outcome = Outcome::kSucceeded;
  FailureClass failure = FailureClass::kError;  // meaningful iff outcome is kFailed
  std::string message = {};
  // It failed before it began: the worker cannot open the trial's corpus. Charged to nobody.
  bool no_corpus = false;
};

// A worker says all that it has in hand. Requires HasWorker(worker).
struct WorkerSynced {
  WorkerId worker;
  std::vector<AttemptId> running = {};
  std::vector<AttemptReport> finished = {};
  int want = 0;  // how many more attempts it would take
  bool draining = false;
  Missing missing = {};  // it gets no trials of these until it no longer says so
};

// A worker whose call was held open may have work now. Requires HasWorker(worker).
struct WorkerWaiting {
  WorkerId worker;
  int want = 0;
};

// The worker's process is known to have ended. Nothing happens when the worker is unknown.
struct WorkerGone {
  WorkerId worker;
};

// The worker's call broke off: its process may have ended, or its connection. Nothing happens when
// the worker is unknown.
struct WorkerUnreachable {
  WorkerId worker;
};

// A trial as a roadmap sees it. Order of work: replicate, baseline before others, long before
// short, position.
struct WantedTrial {
  TrialId trial;
  int replicate = 0;  // 0 for the variant's first seed, 1 for the second, ...
  bool baseline = false;
  int64_t position = 0;     // of the variant in the roadmap
  double cost_seconds = 0;  // estimated, on one core
  // It starts from this trial's checkpoint, so not before that one succeeded. Named earlier.
  std::optional<TrialId> parent = {};
  Needs needs = {};
};

struct RoadmapPolicy {
  RetryBudgets retry;
  // A trial lost together with so many different workers is taken to be what ends them; 0: never.
  int poison = 0;
  // What has not started by then is cancelled.
  absl::Time deadline = absl::InfiniteFuture();
};

// The roadmap now consists of exactly these trials. Trials not heard of before are queued, as are
// those that ended without a result and are new to the roadmap. A trial that no roadmap wants any
// more is cancelled if it has not started.
struct RoadmapChanged {
  RoadmapId roadmap;
  RoadmapPolicy policy = {};
  std::vector<WantedTrial> trials = {};
};

// Cancels trials of the roadmap, all of them when `trials` is not set. A trial that another roadmap
// wants goes on for that one.
struct CancelRequested {
  RoadmapId roadmap;
  std::optional<std::vector<TrialId>> trials = {};
  std::string reason = {};
};

// Queues the roadmap's cancelled and failed trials again, with fresh budgets and without a
// deadline.
struct ResumeRequested {
  RoadmapId roadmap;
  std::optional<std::vector<TrialId>> trials = {};
  std::string reason = {};
};

// Nothing of the roadmap is started until it goes on; what runs goes on.
struct PauseRequested {
  RoadmapId roadmap;
  std::optional<std::string> reason;  // nullopt: go on
};

// Roadmaps share the workers' slots in proportion to their priorities (> 0).
struct PriorityRequested {
  RoadmapId roadmap;
  double priority = 1;
};

// The worker gets no new work, or does again; what it runs goes on. Requires HasWorker(worker).
struct DrainRequested {
  WorkerId worker;
  std::optional<std::string> reason;  // nullopt: it gets work again
};

// Somebody says how a machine is to be treated. `kNormal` forgets what was counted against it.
struct StandingRequested {
  std::string host;
  Standing standing = Standing::kNormal;
  std::string reason;
};

// Time has passed: leases expire, trials that were backing off become ready, deadlines strike.
struct Tick {};

// The coordinator itself could not listen for a while: every worker gets a whole lease again.
struct Stalled {};

using Event = std::variant<WorkerJoined, WorkerSynced, WorkerWaiting, WorkerGone, WorkerUnreachable,
                           RoadmapChanged, CancelRequested, ResumeRequested, PauseRequested,
                           PriorityRequested, DrainRequested, StandingRequested, Tick, Stalled>;

// ---- Effects, in the order they happened

// A new attempt: record it, then tell the worker.
struct AttemptAssigned {
  AttemptId attempt;
  WorkerId worker;
  RoadmapId roadmap;  // in whose turn
};
// An earlier assignment never reached its worker: tell it again. Nothing to record.
struct AttemptRepeated {
  AttemptId attempt;
  WorkerId worker;
  RoadmapId roadmap;
};
// A worker that was taken to be lost came back with the attempt still running: it is not lost.
struct AttemptRecovered {
  AttemptId attempt;
  WorkerId worker;
};
// An attempt is over. `failure` is set iff outcome is kFailed.
struct AttemptEnded {
  AttemptId attempt;
  Outcome outcome;
  std::optional<FailureClass> failure;
  std::string message;
  // The attempt had been written off before (its record is already ended): its result came late,
  // but it was the first.
  bool late = false;
};
// The trial waits for another attempt, not before `ready_at`.
struct TrialQueued {
  TrialId trial;
  absl::Time ready_at;
  std::string reason;
  // Attempts so far no longer count against the budgets.
  bool fresh_budgets = false;
  // It was not heard of before.
  bool is_new = false;
};
// The trial has its outcome.
struct TrialEnded {
  TrialId trial;
  Outcome outcome;
  std::optional<FailureClass> failure;
  std::string message;
  bool orphaned = false;  // cancelled because its parent ended without a model to start from
};
// The worker should drop the attempt.
struct AttemptAbandoned {
  AttemptId attempt;
  WorkerId worker;
};
// The worker may forget its report. Refused: the trial had its result, or was cancelled, or the
// attempt was another's.
struct ReportAcknowledged {
  AttemptId attempt;
  WorkerId worker;
  bool accepted;
};
// Silent for a whole lease, or its process ended, and forgotten. Drained: it held nothing and had
// said so, which is no loss.
struct WorkerLeft {
  WorkerId worker;
  bool drained;
  std::string why = {};
};
// The roadmap gave the trial up, or took it up again.
struct WantChanged {
  RoadmapId roadmap;
  TrialId trial;
  bool wanted;
};
struct DeadlineLifted {
  RoadmapId roadmap;
};
struct PauseChanged {
  RoadmapId roadmap;
  std::optional<std::string> reason;  // nullopt: it goes on
};
struct PriorityChanged {
  RoadmapId roadmap;
  double priority;
};
struct DrainChanged {
  WorkerId worker;
  std::optional<std::string> reason;  // nullopt: it gets work again
};
struct StandingChanged {
  std::string host;
  Standing standing;
  std::string reason;
};

using Effect =
    std::variant<AttemptAssigned, AttemptRepeated, AttemptRecovered, AttemptEnded, TrialQueued,
                 TrialEnded, AttemptAbandoned, ReportAcknowledged, WorkerLeft, WantChanged,
                 DeadlineLifted, PauseChanged, PriorityChanged, DrainChanged, StandingChanged>;
using Effects = std::vector<Effect>;

}  // namespace saffron
