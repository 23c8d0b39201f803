#pragma once
// What the engine is asked and what it answers, free of any transport. Meaning and errors are those
// of the calls of the same names in proto/saffron/v1/worker.proto and roadmap.proto.

#include <array>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "coordinator/scheduler/event.h"
#include "coordinator/store/run_store.h"
#include "coordinator/store/submission.h"

namespace saffron {

// Receives the answer of a call, once, on the engine's thread, after everything that the answer
// says is on disk. Must not block.
template <typename Answer>
using Done = std::function<void(absl::StatusOr<Answer>)>;

struct RegisterCall {
  WorkerInfo worker = {};
  int numerics = 0;
};
struct RegisterAnswer {
  absl::Duration lease = {};
  std::string coordinator_id = {};
};

// A running attempt and its measurements first_sequence, first_sequence + 1, ...
struct AttemptProgress {
  AttemptId attempt = {};
  int64_t first_sequence = 0;
  std::vector<MetricValue> values = {};
};
struct AttemptResult {
  AttemptReport report = {};
  std::vector<MetricValue> final_metrics = {};
  std::optional<absl::Time> started = {}, ended = {};  // by the worker's clock
};
struct SyncCall {
  std::string worker = {};  // name
  std::vector<AttemptProgress> running = {};
  std::vector<AttemptResult> finished = {};
  int want = 0;
  absl::Duration wait = {};
  bool draining = false;
  int64_t sequence = 0;
  std::vector<std::string> missing_corpora = {};  // fingerprints
  bool missing_more = false;
  bool no_bf16 = false;
};
struct AssignedTrial {
  AttemptId attempt = {};
  TrialOrder order = {};
};
struct SyncAnswer {
  std::vector<AssignedTrial> assignments = {};
  std::vector<AttemptId> abandon = {};
  std::vector<AttemptId> acknowledged = {};
  std::vector<std::pair<AttemptId, int64_t>> durable = {};  // next sequence number of each
  absl::Duration next_sync = {};
  bool leave = false;

  bool empty() const {
    return assignments.empty() && abandon.empty() && acknowledged.empty() && durable.empty() &&
           !leave;
  }
};

// A file that an attempt left (artifact.proto).
struct ArtifactCall {
  AttemptId attempt = {};
  ArtifactRecord artifact = {};
  bool stored = false;  // on disk, to be recorded; else: whether it is wanted
};
struct ArtifactAnswer {
  bool wanted = false;
  std::string reason = {};  // why not
};

struct SubmitAnswer {
  RoadmapId roadmap = {};
  std::string name = {};
  int revision = 0;
  SubmissionPlan plan = {};
};

struct ControlCall {
  std::string roadmap = {};          // name, id or "last"
  std::vector<int64_t> trials = {};  // empty: all
  std::string reason = {};
  std::vector<std::string> variants = {}, blocks = {};  // empty: any
};

struct RetryCall {
  ControlCall what = {};
  std::vector<FailureClass> classes = {};  // empty: any
  std::optional<int64_t> memory_bytes = {};
  std::optional<absl::Duration> trial_time = {};
};
struct RetryAnswer {
  int64_t changed = 0;
  std::map<FailureClass, int64_t> failed_as = {};
};

struct FleetView {
  struct Worker {
    WorkerId id = {};
    WorkerInfo info = {};
    Scheduler::WorkerView now = {};
    Standing standing = Standing::kNormal;          // of its machine
    std::vector<std::string> missing_corpora = {};  // names
  };
  std::vector<Worker> workers = {};
  std::map<std::string, NodeRecords::Node> nodes = {};
  absl::Duration lease = {};
  absl::Time time = {};
};

// What happened since this process started; only ever grows.
struct EngineCounters {
  int64_t calls = 0;  // answered
  int64_t commits = 0, failed_commits = 0;
  int64_t assigned = 0, late_results = 0, workers_lost = 0;
  std::array<int64_t, 5> ended = {};                 // attempts by Outcome
  std::array<int64_t, kFailureClasses> failed = {};  // of them, by FailureClass
};

// The coordinator in numbers, for monitoring.
struct MetricsView {
  struct Roadmap {
    std::string name = {};
    Scheduler::RoadmapCounts counts = {};
    Scheduler::RoadmapControl control = {};
  };
  std::vector<Roadmap> roadmaps = {};
  Scheduler::Fleet fleet = {};
  int quarantined_nodes = 0;
  bool paused = false;  // the disk is full or failing
  EngineCounters counters = {};
};

struct WorkerControlCall {
  enum class Action { kDrain, kRelease, kTrust };
  std::string worker = {};  // name or number, a machine's name, or "all"
  Action action = Action::kDrain;
  std::string reason = {};
};
struct WorkerControlAnswer {
  std::vector<std::string> workers = {}, nodes = {};  // what changed
};

struct RoadmapStatus {
  RoadmapInfo roadmap = {};
  Scheduler::RoadmapCounts counts = {};
  int workers = 0, slots = 0;
  std::optional<RunStore::Best> best = {};
  std::string last_failure = {};
  std::string paused = {};  // why nothing is handed out or recorded; empty when all is well
  Scheduler::RoadmapControl control = {};
  int64_t archived = 0;        // trials of earlier revisions that the current one does not name
  int64_t without_corpus = 0;  // of the queued: every worker lacks what they need
  std::string missing_corpora = {};  // which, who lacks them, what to do
};

struct Explanation {
  std::string state = {};
  std::vector<std::string> reasons = {};  // most important first
};

}  // namespace saffron
