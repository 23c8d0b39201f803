#pragma once
// The one place where anything changes: takes calls in order, lets the scheduler decide, commits
// the effects of neighbouring calls in one transaction, then answers.
//
// Deterministic and without threads: time is an argument of RunOnce, the store is given. A thread
// of its own (engine_thread.h) drives it in a server; a simulation drives it with a virtual clock.
//
// When a commit fails, nothing that depended on it is answered as done: the calls get UNAVAILABLE,
// the scheduler is rebuilt from the store, and on a full or failing disk the engine pauses,
// answering at once and saying why, until a small write succeeds again.

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "coordinator/engine/calls.h"
#include "coordinator/scheduler/scheduler.h"
#include "coordinator/store/run_store.h"

namespace saffron {

class Engine {
 public:
  struct Options {
    Scheduler::Options scheduler;
    int numerics = 0;         // workers must be of the same
    size_t inbox_max = 4096;  // calls waiting; more are answered "busy" at once
    size_t batch_max = 512;   // calls in one transaction
    absl::Duration retry_disk = absl::Seconds(1);  // between attempts to write to a full disk
    // Whether the worker's process is known to have ended; asked at the start and when a worker's
    // connection breaks, so that its trials need not wait for the lease. Not set: never known.
    std::function<bool(const WorkerInfo&)> is_gone = {};
    // Most bytes of stored files; 0: any. What can be spared goes first (RunStore::MakeRoom), then
    // new files are not wanted.
    int64_t artifact_bytes_max = 0;
    // Called on the engine's thread for files that nobody keeps any more.
    std::function<void(const std::string& sha256)> delete_artifact = {};
    // Which checkpoints every trial that ends with a result leaves: "best", "last".
    std::vector<std::string> keep_checkpoints = {};
  };
  using CallId = int64_t;

  // Loads what the store remembers. `store` must outlive the engine and is used by it alone.
  static absl::StatusOr<std::unique_ptr<Engine>> Start(const Options& options, RunStore* store,
                                                       absl::Time now);

  // ---- Calls. Thread-safe; each is answered exactly once, by a later RunOnce or at once when the
  // inbox is full (RESOURCE_EXHAUSTED) or the engine was shut down (UNAVAILABLE).
  void Register(RegisterCall call, Done<RegisterAnswer> done);
  // May be held open; `Forget(id)` ends a held call (CANCELLED).
  CallId Sync(SyncCall call, Done<SyncAnswer> done);
  void Forget(CallId id);
  void Submit(std::shared_ptr<const Submission> submission, Done<SubmitAnswer> done);
  void Cancel(ControlCall call, Done<int64_t> done);  // trials changed
  void Resume(ControlCall call, Done<int64_t> done);
  // NOT_FOUND: no such trial. INVALID_ARGUMENT: it never had that attempt.
  void Artifact(ArtifactCall call, Done<ArtifactAnswer> done);
  void Retry(RetryCall call, Done<RetryAnswer> done);
  // The answer: whether anything changed.
  void Pause(std::string roadmap, std::optional<std::string> reason, Done<bool> done);
  void SetPriority(std::string roadmap, double priority, Done<bool> done);
  void ListWorkers(Done<FleetView> done);
  void ControlWorker(WorkerControlCall call, Done<WorkerControlAnswer> done);
  void Metrics(Done<MetricsView> done);
  void Status(std::string roadmap, Done<RoadmapStatus> done);
  void Explain(TrialId trial, Done<Explanation> done);

  // ---- The engine's own thread.
  // Handles what has arrived and what is due. Returns when it wants to be called again at the
  // latest; InfinitePast: at once.
  absl::Time RunOnce(absl::Time now);
  // Called (from any thread) when a call arrives in an empty inbox.
  void SetWaker(std::function<void()> waker) { waker_ = std::move(waker); }
  // Answers everything with UNAVAILABLE from now on, held calls included. No RunOnce may be
  // running.
  void Shutdown();

  const Scheduler& scheduler() const { return scheduler_; }

 private:
  // A call on its way. What `apply` returns is a failure of the store; every answer, errors of the
  // caller's included, goes into the batch's answers. Exactly one of these ends up with the caller.
  struct Item {
    std::function<absl::Status()> apply;
    std::function<void(const absl::Status&)> fail;
    bool reads_only = false;
  };
  // A worker process that has registered with this coordinator process.
  struct Session {
    WorkerId worker;
    WorkerInfo info = {};
    int64_t last_sequence = 0;
    CallId held = 0;  // its open call; 0: none
  };
  struct Held {
    WorkerId worker;
    int want = 0;
    absl::Time until;
    Done<SyncAnswer> done;
  };
  struct RoadmapView {
    RoadmapInfo info;
    bool loaded = false;  // the next three are up to date
    std::optional<RunStore::Best> best = {};
    std::string last_failure = {};
    int64_t archived = 0;
  };

  Engine(const Options& options, RunStore* store) : options_(options), store_(store) {}
  absl::Status Load();

  template <typename Answer>
  void Post(const Done<Answer>& done, bool reads_only, std::function<absl::Status()> apply);
  void Push(Item item);
  // Answers after the commit.
  template <typename Answer>
  void Reply(const Done<Answer>& done, absl::StatusOr<Answer> answer) {
    answers_.push_back([done, answer = std::move(answer)](const absl::Status& status) {
      status.ok() ? done(answer) : done(status);
    });
  }

  absl::Status DoForget(CallId id);
  // Workers of an earlier coordinator process: those that ended are given up, idle ones forgotten.
  absl::Status ReviewWorkers();
  absl::Status DoRegister(const RegisterCall& call, const Done<RegisterAnswer>& done);
  absl::Status DoSync(CallId id, const SyncCall& call, const Done<SyncAnswer>& done);
  absl::Status DoSubmit(const Submission& submission, const Done<SubmitAnswer>& done);
  absl::Status DoControl(const ControlCall& call, bool resume, const Done<int64_t>& done);
  absl::Status DoRetry(const RetryCall& call, const Done<RetryAnswer>& done);
  absl::Status DoMetrics(const Done<MetricsView>& done);
  void Count(const Effects& effects);
  absl::Status DoListWorkers(const Done<FleetView>& done);
  absl::Status DoControlWorker(const WorkerControlCall& call,
                               const Done<WorkerControlAnswer>& done);
  // Workers that the name means, and the machine where it is one's.
  struct MeantWorkers {
    std::vector<WorkerId> workers;
    std::set<std::string> hosts;
  };
  absl::StatusOr<MeantWorkers> FindWorkers(const std::string& name) const;
  // The event concerns a roadmap as a whole; answers whether it changed anything.
  absl::Status DoRoadmapEvent(const std::string& roadmap, const Done<bool>& done,
                              const std::function<Event(RoadmapId)>& event);
  // The trials that a call means, nullopt for all. `refused` is set where the caller is wrong.
  struct Selected {
    RoadmapView* roadmap = nullptr;
    std::optional<std::vector<TrialId>> trials;
  };
  absl::StatusOr<Selected> Select(const ControlCall& call, absl::Status* refused);
  absl::Status DoStatus(const std::string& roadmap, const Done<RoadmapStatus>& done);
  // Which of the roadmap's trials wait because nobody has their corpus.
  absl::Status AddMissingCorpora(RoadmapStatus* status);
  // "a worker with corpus ...", who lacks it and what to do.
  absl::StatusOr<std::string> DescribeLacking(const Needs& needs, const Scheduler::NeedsView& view);
  absl::Status DoArtifact(const ArtifactCall& call, const Done<ArtifactAnswer>& done);
  // Why the file is not wanted; empty when it is, and then there is room for it.
  absl::StatusOr<std::string> WhyUnwanted(const ArtifactCall& call);
  // States of trials that now have a result are given up.
  absl::Status ForgetStates(const Effects& effects);
  // What the attempt starts from and is to leave.
  absl::Status AddFiles(AttemptId attempt, bool is_new, TrialOrder* order);
  void DeleteAfterCommit(std::vector<std::string> sha256);
  absl::Status DoExplain(TrialId trial, const Done<Explanation>& done);

  // Applies the event and records its effects; workers told to drop something hear of it.
  absl::StatusOr<Effects> Apply(const Event& event);
  absl::Status RecordReports(const SyncCall& call, const Effects& effects, SyncAnswer* answer);
  // Keeps "best so far" and "last failure" up to date.
  absl::Status NoteResult(const AttemptResult& result);
  void NoteFailures(const Effects& effects);
  // Assignments and abandonments of the effects that concern the worker.
  absl::Status AddOrders(const Effects& effects, WorkerId worker, SyncAnswer* answer);
  void Hold(CallId id, Session* session, const SyncCall& call, const Done<SyncAnswer>& done);
  void Release(CallId id, absl::StatusOr<SyncAnswer> answer);
  absl::Status ServeHeld();
  absl::Duration NextSync(int want_left, absl::Duration wait) const;

  std::vector<Item> TakeBatch();
  // Applies the calls and what is due, and commits.
  void RunBatch(const std::vector<Item>& batch);
  absl::Status BeginOnce();
  // The store failed at call `failed` of the batch (its size: after all of them).
  void Fail(const std::vector<Item>& batch, size_t failed, const absl::Status& status);
  void RunPaused(const std::vector<Item>& batch);
  void SendAnswers(const absl::Status& status);
  absl::Time NextWake();

  absl::StatusOr<RoadmapView*> FindRoadmap(const std::string& selector);
  absl::Status LoadView(RoadmapView* view);

  const Options options_;
  RunStore* const store_;
  std::function<void()> waker_;

  std::mutex mutex_;
  std::deque<Item> inbox_;  // guarded by mutex_
  CallId last_call_ = 0;    // guarded by mutex_
  bool shut_down_ = false;  // guarded by mutex_

  // The engine's own thread from here on.
  absl::Time now_;
  absl::Time wake_ = absl::InfiniteFuture();  // what the last RunOnce returned
  Scheduler scheduler_{{}};
  std::map<std::string, Session> sessions_;
  std::map<WorkerId, std::string> names_;  // of workers in sessions_
  std::vector<std::pair<WorkerId, WorkerInfo>> to_review_;
  std::map<CallId, Held> held_;
  std::set<std::pair<absl::Time, CallId>> held_until_;
  std::set<CallId> hungry_;  // those of held_ that want work: few, when there is any
  std::map<RoadmapId, RoadmapView> roadmaps_;
  std::set<TrialId> with_state_;  // trials that have a state to go on from
  // Of the batch: told OK after the commit, or why there was none.
  std::vector<std::function<void(const absl::Status&)>> answers_;
  bool in_transaction_ = false;
  EngineCounters counters_;
  int isolate_ = 0;     // so many calls go one by one, that a failing one fails alone
  std::string paused_;  // why; empty: not
  absl::Time paused_since_, retry_at_;
};

}  // namespace saffron
