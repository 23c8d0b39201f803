#pragma once
// Who runs what: the state machine at the centre of the coordinator. Pure: no clock, randomness,
// threads, database or network; the same events at the same times give the same effects.
//
//            assign              first complete result
//   Queued ------------> Leased ------------------------> succeeded | diverged | pruned
//    ^  \ (backing off)    |
//    |                     |
//    +-- failure, budget --+------ budget spent --> failed
//   Queued | Leased ------------- cancel ---------> cancelled
//
// A trial with a parent is *held* until the parent succeeded: queued, but in no queue. When the
// parent ends otherwise, the trial is cancelled as orphaned; when the parent gets another chance,
// so do its orphans. Parents come first: a trial counts as long as the longest chain that begins
// with it.
//
// A lease belongs to a worker, not to an attempt: a worker names everything it holds in each Sync,
// so silence is the only thing that has to be timed. A worker whose connection broke is *doubted*
// after a moment: other workers take over its trials once they have nothing longer to do. Attempts
// are fenced by their number: reports of failure from any but the current attempt change nothing. A
// *complete result* of an older attempt is accepted when it is the first (trials are deterministic:
// it is as good), and never counts twice.
//
// A worker that cannot open a trial's corpus hands the trial back, which is charged to nobody, and
// is given no trials of that corpus for as long as it says that it lacks it; others are. Nor is one
// whose CPU cannot multiply in bfloat16 given trials that do.

#include <array>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/container/inlined_vector.h"
#include "absl/time/time.h"
#include "coordinator/scheduler/event.h"
#include "coordinator/scheduler/ids.h"
#include "coordinator/scheduler/node_record.h"
#include "coordinator/scheduler/outcome.h"
#include "coordinator/scheduler/work_queue.h"

namespace saffron {

// Waiting for a worker, not before `ready_at` (InfinitePast: at once).
struct Queued {
  absl::Time ready_at = absl::InfinitePast();
  // Whose attempt was written off last, and as what: should that worker come back with it still
  // running, it may go on.
  std::optional<WorkerId> lost_by = {};
  FailureClass lost_as = FailureClass::kWorkerLost;
};
// The current attempt is the trial's newest.
struct Leased {
  WorkerId worker;
  RoadmapId roadmap;  // in whose turn
};
struct Ended {
  Outcome outcome = Outcome::kSucceeded;
  bool orphaned = false;  // cancelled because its parent ended without a model to start from
};
using TrialState = std::variant<Queued, Leased, Ended>;

class Scheduler {
 public:
  struct Options {
    absl::Duration lease = absl::Seconds(30);
    // How long a worker whose connection broke may take to come back before it is doubted.
    absl::Duration grace = absl::Seconds(3);
    // Retries wait `backoff`, doubled with each failure of the class, up to `backoff_max`.
    // Preempted trials do not wait: nothing was wrong with them.
    absl::Duration backoff = absl::Seconds(1);
    absl::Duration backoff_max = absl::Minutes(1);
    // A worker holds no more estimated work than this for each slot, its free slots apart: leasing
    // ahead hides round trips of short trials and would only unbalance long ones.
    absl::Duration ahead = absl::Seconds(2);
  };

  // What the store remembers, to start from.
  struct Snapshot {
    struct Trial {
      TrialId id;
      double cost_seconds = 0;
      int32_t attempts = 0;
      std::array<int, kFailureClasses> failures = {};
      TrialState state;
      std::optional<TrialId> parent = {};
      std::vector<WorkerId> lost_with = {};  // since the budgets were fresh, each once
      Needs needs = {};
    };
    struct Roadmap {
      RoadmapId id;
      RoadmapPolicy policy = {};
      double priority = 1;
      std::optional<std::string> paused = {};  // why
      std::vector<WantedTrial> trials = {};
      std::vector<TrialId> given_up = {};  // those of `trials` that were cancelled for this roadmap
    };
    std::vector<Trial> trials;
    std::vector<Roadmap> roadmaps;
    std::map<WorkerId, std::string> drained = {};                        // and why
    std::map<std::string, std::pair<Standing, std::string>> nodes = {};  // not normal, and why
  };

  explicit Scheduler(const Options& options);
  // Workers that hold leases get one whole lease from `now` to be heard of.
  Scheduler(const Options& options, const Snapshot& snapshot, absl::Time now);

  // O(log n) for each trial that the event concerns.
  Effects Apply(const Event& event, absl::Time now);

  // When a Tick will do something; InfiniteFuture when nothing is timed.
  absl::Time NextDeadline() const;
  // Whether a waiting worker might be given something.
  bool HasReady() const { return !queue_.empty(); }
  // Whether this one might.
  bool HasReadyFor(WorkerId worker) const;
  bool HasWorker(WorkerId worker) const { return workers_.count(worker) > 0; }

  struct RoadmapCounts {
    int64_t total = 0, queued = 0, leased = 0;
    int64_t held = 0;                      // of `queued`, those that wait for their parent
    std::array<int64_t, 5> ended = {};     // by Outcome
    double cost_total = 0, cost_done = 0;  // estimated core-seconds
    int64_t of(Outcome outcome) const { return ended[static_cast<int>(outcome)]; }
  };
  // nullptr when there is no such roadmap.
  const RoadmapCounts* Counts(RoadmapId roadmap) const;

  struct Want {
    RoadmapId roadmap;
    int32_t replicate = 0;
    bool baseline = false;
    bool active = true;  // false once the roadmap cancelled it
    int64_t position = 0;
  };
  struct Trial {
    TrialState state;
    int32_t attempts = 0;
    std::array<int, kFailureClasses> failures = {};  // since the budgets were fresh
    double cost_seconds = 0;
    absl::InlinedVector<Want, 1> wants;
    std::optional<TrialId> parent = {};
    bool held = false;         // its parent has not succeeded (yet)
    double after_seconds = 0;  // estimated time of the longest chain of trials that wait for it
    std::vector<WorkerId> lost_with = {};  // workers it was lost with since the budgets were fresh
    Needs needs = {};

    // The roadmap's want; nullptr when it has none.
    const Want* FindWant(RoadmapId roadmap) const;
    Want* FindWant(RoadmapId roadmap) {
      return const_cast<Want*>(std::as_const(*this).FindWant(roadmap));
    }
  };
  // nullptr when there is no such trial.
  const Trial* FindTrial(TrialId trial) const;

  struct Fleet {
    int workers = 0, slots = 0, leased = 0;
    int idle_slots = 0;  // of workers that get new work
    int barred = 0;      // workers that get none: drained, or on a quarantined machine
  };
  Fleet fleet() const;

  // Who of the workers that get new work could be given a trial that needs this. O(workers).
  struct NeedsView {
    int able = 0;                                 // workers that lack nothing of it
    int idle_slots = 0;                           // theirs
    std::vector<WorkerId> lacking = {};           // the others
    bool lack_corpus = false, lack_bf16 = false;  // what any of these lacks
  };
  NeedsView ViewNeeds(const Needs& needs) const;
  // Trials of the roadmap that wait for nothing but a worker, by what they need; none of a paused
  // roadmap.
  std::map<Needs, size_t> ReadyByNeeds(RoadmapId roadmap) const;

  struct WorkerView {
    int slots = 0;  // 0: it has not been heard of since this process started
    std::string host;
    std::set<TrialId> held;
    std::optional<std::string> drained;  // why
    absl::Time expires;                  // when it is taken to be lost
    Missing missing = {};
  };
  // nullopt when there is no such worker.
  std::optional<WorkerView> ViewWorker(WorkerId worker) const;
  // Whether the worker was told to drain and holds nothing: it may leave.
  bool MayLeave(WorkerId worker) const;
  const NodeRecords& nodes() const { return nodes_; }

  struct RoadmapControl {
    double priority = 1;
    std::optional<std::string> paused;  // why
  };
  // Those of a roadmap that there is not are the default's.
  RoadmapControl Control(RoadmapId roadmap) const;
  // How many trials its roadmap will start before a ready trial. O(n).
  int64_t CountAhead(TrialId trial) const;
  const Options& options() const { return options_; }

 private:
  friend class SchedulerInspector;  // invariants.cc

  struct Worker {
    int slots = 0;  // 0: known from the store only, has not joined yet
    std::string host;
    bool drained = false;  // said that it is leaving, and holds nothing
    absl::Time expires;
    absl::Time doubted = absl::InfiniteFuture();  // from when on
    double load_seconds = 0;                      // estimated work in `held`
    std::set<TrialId> held;
    Missing missing;  // as it said last
  };
  struct Roadmap {
    RoadmapPolicy policy;
    RoadmapControl control;
    RoadmapCounts counts;
    int64_t leased_in_turn = 0;
    std::set<TrialId> trials;
  };

  void On(const WorkerJoined& event, absl::Time now);
  void On(const WorkerSynced& event, absl::Time now);
  void On(const WorkerWaiting& event, absl::Time now);
  void On(const WorkerGone& event, absl::Time now);
  void On(const WorkerUnreachable& event, absl::Time now);
  void On(const RoadmapChanged& event, absl::Time now);
  void On(const CancelRequested& event, absl::Time now);
  void On(const ResumeRequested& event, absl::Time now);
  void On(const PauseRequested& event, absl::Time now);
  void On(const PriorityRequested& event, absl::Time now);
  void On(const DrainRequested& event, absl::Time now);
  void On(const StandingRequested& event, absl::Time now);
  void On(const Tick& event, absl::Time now);
  void On(const Stalled& event, absl::Time now);

  void TakeReport(WorkerId worker, const AttemptReport& report, absl::Time now);
  void AcceptResult(WorkerId worker, const AttemptReport& report, absl::Time now);
  // The current attempt of a leased trial never began.
  void HandBack(AttemptId attempt, const std::string& message, const std::string& reason,
                absl::Time now);
  void TakeRunning(WorkerId worker, AttemptId attempt);
  // Assigns again, or takes back, what the worker holds but did not name.
  int RepeatUnseen(WorkerId worker, const std::set<TrialId>& named, int want, absl::Time now);
  void Assign(WorkerId worker, int want, absl::Time now);
  // Gives up the doubted workers that hold what others, who are idle, could do.
  void GiveUpDoubted(absl::Time now);
  // Whether a worker has a free slot and nothing to start, and could do any of `trials`, where
  // there are any.
  bool IsAnyIdleFor(const std::set<TrialId>& trials) const;
  void LoseWorker(WorkerId worker, const std::string& why, absl::Time now);
  // The current attempt of a leased trial failed: queue the trial again or end it. `lost`: with its
  // worker, who may yet come back.
  void FailAttempt(TrialId trial, FailureClass failure, const std::string& message, bool lost,
                   absl::Time now);
  // A trial without an attempt in hand is to run again, if anybody still wants it by `now`.
  void QueueOrCancel(TrialId trial, Queued state, const std::string& reason, absl::Time now);
  // Counts against the worker's machine, and quarantines it where that is too much.
  void BlameNode(WorkerId worker, FailureClass failure, TrialId trial, absl::Time now);
  void SetStanding(const std::string& host, Standing standing, const std::string& reason);
  // What failed on the machine alone, which is quarantined, gets another chance.
  void RetryElsewhere(const std::string& host, absl::Time now);
  // Whether the worker is given new work.
  bool GetsWork(WorkerId worker) const;
  // Records how often and with whom the current attempt of the trial was lost; true when it is
  // taken to be what ends its workers.
  bool IsPoison(TrialId trial, WorkerId worker);

  // ---- Trials that start from others (scheduler_parents.cc)
  // Of a trial that is not linked (Link); `linked`: its ancestors are.
  void SetParent(TrialId trial, TrialId parent, bool linked);
  // The trial's state changed, or its children are new: they are released, orphaned or taken up
  // again.
  void SettleChildren(TrialId trial, absl::Time now);
  void SettleChild(TrialId child, TrialId parent, absl::Time now);
  void Orphan(TrialId child, TrialId parent, absl::Time now);
  // Queues an ended trial again with fresh budgets.
  void QueueAfresh(TrialId trial, const std::string& reason, absl::Time now);
  // Takes up, and queues again where they ended without a result, the trial and what it starts
  // from. True when anything changed.
  bool TakeUp(RoadmapId roadmap, TrialId trial, const std::string& reason, absl::Time now);

  // The roadmap names the trial, as of now.
  void Name(RoadmapId roadmap, const WantedTrial& wanted, absl::Time now);
  // The roadmap no longer names the trial.
  void Unname(RoadmapId roadmap, TrialId trial, absl::Time now);
  // The roadmap gives up a trial that has not ended; the last one to do so cancels it.
  void GiveUp(RoadmapId roadmap, TrialId trial, const std::string& reason, absl::Time now);
  void StrikeDeadline(RoadmapId roadmap, absl::Time now);

  // Every change of a trial goes through here, so that queues, workers and counts follow. `change`
  // may alter state, wants and attempts.
  template <typename Change>
  void Alter(TrialId id, const Change& change) {
    Trial& trial = trials_.at(id);
    Unlink(id, trial);
    change(trial);
    Link(id, trial);
  }
  void Unlink(TrialId id, Trial& trial);
  void Link(TrialId id, Trial& trial);
  // Whether any roadmap still wants the trial started at `now`.
  bool IsWanted(const Trial& trial, absl::Time now) const;
  RetryBudgets BudgetsOf(const Trial& trial) const;
  int PoisonLimitOf(const Trial& trial) const;  // 0: none
  absl::Duration Backoff(FailureClass failure, int failures) const;
  void ChargeTurn(RoadmapId roadmap, int delta);
  void Renew(WorkerId id, Worker& worker, absl::Time expires);
  void Untime(WorkerId id, const Worker& worker);

  Options options_;
  absl::flat_hash_map<TrialId, Trial> trials_;  // for look-up only: never iterated into effects
  std::map<RoadmapId, Roadmap> roadmaps_;
  std::map<WorkerId, Worker> workers_;
  std::map<WorkerId, std::string> drained_;  // told to drain, and why; may outlive a restart
  std::map<TrialId, std::set<TrialId>> children_;
  NodeRecords nodes_;
  WorkQueue queue_;
  std::set<std::pair<absl::Time, TrialId>> backing_off_;
  std::set<std::pair<absl::Time, WorkerId>> expiries_;
  std::set<std::pair<absl::Time, WorkerId>> doubts_;  // to come
  std::set<WorkerId> doubted_;                        // those that have
  std::set<std::pair<absl::Time, RoadmapId>> deadlines_;
  int slots_ = 0;
  Effects effects_;  // of the event being applied
};

// The state's name as in the database: "queued", "leased", or the outcome's.
std::string_view TrialStateName(const TrialState& state);

}  // namespace saffron
