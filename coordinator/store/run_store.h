#pragma once
// The results database: all the SQL that the coordinator writes, and what it reads back to go on.
//
// One RunStore is the only writer of a file. What is recorded between Begin and Commit becomes
// durable together or not at all. Everything is repeatable: recording again what a crash hid
// changes nothing. Errors are those of sqlite.h; after one, Rollback. Not thread-safe.

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "coordinator/scheduler/event.h"
#include "coordinator/scheduler/scheduler.h"
#include "coordinator/store/artifact_record.h"
#include "coordinator/store/database_lock.h"
#include "coordinator/store/sqlite.h"
#include "coordinator/store/submission.h"

namespace saffron {

struct WorkerInfo {
  std::string name;  // unique per process
  std::string hostname = {}, build = {};
  int64_t pid = 0;
  std::string process_space = {};  // where `pid` means something (core/base/process.h)
  int slots = 1;
};

// One value of one metric. NaN and infinities are allowed and kept.
struct MetricValue {
  std::string key;
  int64_t step = 0;
  double value = 0;
};

// What a worker needs to run a trial.
struct TrialOrder {
  Params params;
  uint64_t seed = 0;
  std::string fingerprint;
  std::optional<absl::Duration> trial_time;
  std::optional<int64_t> memory_bytes;
  std::string label;                               // "roadmap/block #position"
  std::optional<ArtifactRecord> resume_from = {};  // the newest state of an earlier attempt
  std::vector<std::string> keep_checkpoints = {};  // "best", "last": to store with the result
  // Where it starts from another trial's model: that checkpoint, without a digest when none is
  // kept, and what is done to it.
  std::optional<ArtifactRecord> init_from = {};
  std::vector<std::string> init_derive = {};
  bool init_reset_state = false;
  int64_t parent = 0;  // the other trial
  // Where no checkpoint is kept: what the parent computes, to make it again.
  std::shared_ptr<const TrialOrder> parent_order = {};
};

struct RoadmapInfo {
  RoadmapId id;
  std::string name;
  int revision = 0;
  std::string metric;
  bool maximize = false;
  absl::Time submitted;
};

// What storing the submission would do, against the database as `db` sees it now (any connection).
absl::StatusOr<SubmissionPlan> PlanSubmission(Database& db, const Submission& submission);

class RunStore {
 public:
  struct Options {
    std::string path;
    bool survive_power_loss = true;  // see CoordinatorServer::Options
    bool allow_network_filesystem = false;
  };

  // Takes the lock, creates or migrates the schema.
  // FAILED_PRECONDITION: another coordinator runs on it, it is of a newer schema (names both
  // versions), not a database or another program's, not writable, locked by another program, or on
  // a network file system; its folder does not exist. RESOURCE_EXHAUSTED: no room.
  static absl::StatusOr<std::unique_ptr<RunStore>> Open(const Options& options, absl::Time now);

  const std::string& path() const { return options_.path; }
  // Random, made with the database.
  const std::string& coordinator_id() const { return coordinator_id_; }

  absl::Status Begin();
  absl::Status Commit();
  void Rollback();
  // Lets go of the snapshot that reading outside of a transaction keeps.
  void EndReading();

  // The file may not grow beyond so many pages of 4 KiB, or beyond what it has: a full disk for
  // tests.
  absl::Status LimitPagesForTest(int64_t pages);

  // ---- Reading back
  absl::StatusOr<Scheduler::Snapshot> LoadSnapshot();
  // Workers that are expected to call: every one that did not leave.
  absl::StatusOr<std::vector<std::pair<WorkerId, WorkerInfo>>> LoadWorkers();
  // nullopt: no trial reads it.
  absl::StatusOr<std::optional<CorpusId>> FindCorpus(const std::string& fingerprint);
  struct Corpus {
    std::string name;  // that it was first used under
    std::string fingerprint;
  };
  absl::StatusOr<Corpus> LoadCorpus(CorpusId corpus);
  // Why the worker was told to drain; nullopt: it was not.
  absl::StatusOr<std::optional<std::string>> WhyDrained(WorkerId worker);
  absl::StatusOr<std::vector<RoadmapInfo>> LoadRoadmaps();
  // The trial of the roadmap's current revision whose final value of its metric is finite and best
  // among those that ComparableLabel names; nullopt when there is none.
  struct Best {
    TrialId trial;
    double value = 0;
    std::string label;
  };
  absl::StatusOr<std::optional<Best>> FindBest(const RoadmapInfo& roadmap);
  // Message of the trial that failed last; empty when none did.
  absl::StatusOr<std::string> LastFailure(const RoadmapInfo& roadmap);
  // The trial's label in the roadmap; nullopt when it is not measured on the held-out ids that the
  // roadmap's baseline is measured on, so that it cannot be called better or worse.
  absl::StatusOr<std::optional<std::string>> ComparableLabel(RoadmapId roadmap, TrialId trial);
  absl::StatusOr<TrialOrder> LoadOrder(TrialId trial, RoadmapId roadmap);
  // Trials of the roadmap's current revision: of a variant, by its number, its label or at least
  // six characters of its digest's beginning; of a block, by its name. In order.
  absl::StatusOr<std::vector<TrialId>> TrialsOfVariant(const RoadmapInfo& roadmap,
                                                       const std::string& variant);
  absl::StatusOr<std::vector<TrialId>> TrialsOfBlock(const RoadmapInfo& roadmap,
                                                     const std::string& block);
  // Those that failed, and as what. In order.
  absl::StatusOr<std::vector<std::pair<TrialId, FailureClass>>> LoadFailures(
      const RoadmapInfo& roadmap);
  // Trials of earlier revisions that the current one does not name.
  absl::StatusOr<int64_t> CountArchived(const RoadmapInfo& roadmap);
  struct AttemptRecord {
    int number = 0;
    std::string worker, outcome, failure_class, message;  // empty where there is none
    absl::Time assigned;
    std::optional<absl::Time> ended;
  };
  struct TrialRecord {
    std::string message, failure_class;
    std::optional<absl::Time> ended;
    std::vector<AttemptRecord> attempts;
    std::set<std::string> hosts;  // of the workers of its attempts
  };
  absl::StatusOr<TrialRecord> LoadTrialRecord(TrialId trial);
  // What is kept for the trial, the latest step first.
  absl::StatusOr<std::vector<ArtifactRecord>> KeptArtifacts(TrialId trial);
  absl::StatusOr<std::set<TrialId>> TrialsWithState();
  // Which checkpoints ("best", "last") unfinished trials are to start from.
  absl::StatusOr<std::vector<std::string>> WantedCheckpoints(TrialId trial);
  // Whether it, or a parent that ended and of which nothing is kept to start from, so that it would
  // be made again, computes in bfloat16.
  absl::StatusOr<bool> ComputesInBf16(TrialId trial);
  absl::StatusOr<std::set<std::string>> KeptDigests();
  absl::StatusOr<int64_t> KeptBytes();  // equal files count once
  // Those of the digests that nothing keeps.
  absl::StatusOr<std::vector<std::string>> Unkept(std::vector<std::string> sha256);
  absl::StatusOr<SubmissionPlan> Plan(const Submission& s) { return PlanSubmission(db_, s); }

  // ---- Recording, within a transaction
  absl::StatusOr<WorkerId> RecordWorker(const WorkerInfo& worker, absl::Time now);
  // Scheduler decisions, each with an event.
  absl::Status Record(const Effects& effects, absl::Time now);
  absl::Status RecordCurve(TrialId trial, const std::vector<MetricValue>& values);
  // Final metrics and the worker's own times of an attempt whose result was accepted.
  absl::Status RecordResult(AttemptId attempt, const std::vector<MetricValue>& values,
                            std::optional<absl::Time> started, std::optional<absl::Time> finished);
  // Something that happened to the coordinator, a roadmap or a worker as a whole.
  absl::Status RecordEvent(std::string_view kind, std::optional<RoadmapId> roadmap,
                           std::optional<WorkerId> worker, std::string_view reason, absl::Time now);
  // The file is on disk and kept for the attempt's trial. Repeating it changes nothing.
  absl::Status RecordArtifact(AttemptId attempt, const ArtifactRecord& artifact, absl::Time now);
  // The attempt goes on from the state of an earlier one.
  absl::Status RecordResume(AttemptId attempt, int64_t step, absl::Time now);
  // Gives up what is kept and `is_lost`, so that it is made again where it is needed. Returns how
  // many were.
  absl::StatusOr<int64_t> GiveUpLost(const std::function<bool(const ArtifactRecord&)>& is_lost,
                                     absl::Time now);
  // Gives up the trial's states of steps < `below`. Like MakeRoom, returns the digests of files
  // that nobody keeps any more: to be deleted once this is committed.
  absl::StatusOr<std::vector<std::string>> GiveUpStates(TrialId trial, int64_t below,
                                                        absl::Time now);
  // Gives up at least `bytes` of what can be spared, as far as there is so much.
  absl::StatusOr<std::vector<std::string>> MakeRoom(int64_t bytes, absl::Time now);
  // Limits of these trials of the roadmap's current revision, in place of the revision's.
  absl::Status SetLimits(const RoadmapInfo& roadmap, const std::vector<TrialId>& trials,
                         std::optional<int64_t> memory_bytes,
                         std::optional<absl::Duration> trial_time);
  // A new revision unless the current one is the same; `change` tells the scheduler.
  absl::StatusOr<StoredRevision> RecordSubmission(const Submission& submission, absl::Time now);

 private:
  static absl::StatusOr<std::unique_ptr<RunStore>> OpenFile(const std::string& path,
                                                            const Options& options, absl::Time now);
  absl::Status LoadInit(TrialId trial, RoadmapId roadmap, TrialOrder* order);
  // Drained workers and machines out of the ordinary.
  absl::Status LoadStandings(Scheduler::Snapshot* snapshot);

  RunStore(const Options& options, DatabaseLock lock, Database db, std::string coordinator_id);

  absl::Status RecordTrialEvent(std::string_view kind, TrialId trial,
                                std::optional<int64_t> attempt, std::optional<int64_t> worker,
                                std::string_view reason, int64_t now_us);
  absl::Status On(const AttemptAssigned& effect, int64_t now_us);
  absl::Status On(const AttemptRepeated& effect, int64_t now_us);
  absl::Status On(const AttemptRecovered& effect, int64_t now_us);
  absl::Status On(const AttemptEnded& effect, int64_t now_us);
  absl::Status On(const TrialQueued& effect, int64_t now_us);
  absl::Status On(const TrialEnded& effect, int64_t now_us);
  absl::Status On(const AttemptAbandoned& effect, int64_t now_us);
  absl::Status On(const ReportAcknowledged& effect, int64_t now_us);
  absl::Status On(const WorkerLeft& effect, int64_t now_us);
  absl::Status On(const WantChanged& effect, int64_t now_us);
  absl::Status On(const DeadlineLifted& effect, int64_t now_us);
  absl::Status On(const PauseChanged& effect, int64_t now_us);
  absl::Status On(const PriorityChanged& effect, int64_t now_us);
  absl::Status On(const DrainChanged& effect, int64_t now_us);
  absl::Status On(const StandingChanged& effect, int64_t now_us);

  Options options_;
  DatabaseLock lock_;
  Database db_;
  std::string coordinator_id_;
};

}  // namespace saffron
