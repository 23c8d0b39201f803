#include "coordinator/store/run_store.h"

#include <limits.h>
#include <unistd.h>

#include <cmath>
#include <filesystem>

#include "absl/strings/str_cat.h"
#include "coordinator/store/filesystem.h"
#include "coordinator/store/schema.h"
#include "core/base/status_macros.h"

namespace saffron {
namespace {

std::string DescribeThisProcess(absl::Time now) {
  char host[HOST_NAME_MAX + 1] = {};
  ::gethostname(host, HOST_NAME_MAX);
  return absl::StrCat("process ", ::getpid(), " on ", host, ", since ",
                      absl::FormatTime("%Y-%m-%d %H:%M:%S UTC", now, absl::UTCTimeZone()));
}

// The path without symbolic links, so that every name of a file finds the same lock.
absl::StatusOr<std::string> Resolve(const std::string& path) {
  RETURN_IF_ERROR(FindDatabaseFile(path).status());
  std::error_code error;
  std::filesystem::path full = std::filesystem::absolute(path, error);
  if (!error) full = std::filesystem::weakly_canonical(full, error);
  if (error) return absl::FailedPreconditionError(absl::StrCat(path, ": ", error.message()));
  return full.string();
}

std::optional<absl::Duration> OptionalMicros(const Statement& row, int column) {
  if (row.IsNull(column)) return std::nullopt;
  return absl::Microseconds(row.Int(column));
}

}  // namespace

RunStore::RunStore(const Options& options, DatabaseLock lock, Database db,
                   std::string coordinator_id)
    : options_(options),
      lock_(std::move(lock)),
      db_(std::move(db)),
      coordinator_id_(std::move(coordinator_id)) {}

absl::StatusOr<std::unique_ptr<RunStore>> RunStore::Open(const Options& options, absl::Time now) {
  ASSIGN_OR_RETURN(const std::string path, Resolve(options.path));
  absl::StatusOr<std::unique_ptr<RunStore>> store = OpenFile(path, options, now);
  // UNAVAILABLE asks to try again later, of whoever is there already. Here nobody is.
  if (absl::IsUnavailable(store.status())) {
    return absl::FailedPreconditionError(
        absl::StrCat("cannot open ", path, ": ", std::string(store.status().message())));
  }
  return store;
}

absl::StatusOr<std::unique_ptr<RunStore>> RunStore::OpenFile(const std::string& path,
                                                             const Options& options,
                                                             absl::Time now) {
  if (!options.allow_network_filesystem) RETURN_IF_ERROR(CheckFilesystem(path));
  ASSIGN_OR_RETURN(DatabaseLock lock, DatabaseLock::Take(path + ".lock", DescribeThisProcess(now)));
  absl::StatusOr<Database> db = Database::Open(path, Database::Mode::kReadWriteCreate);
  if (!db.ok()) {
    return absl::FailedPreconditionError(std::string(db.status().message()));
  }
  // Recognise before touching: nothing is written to a file that is not ours.
  RETURN_IF_ERROR(ReadSchemaVersion(*db, path).status());
  if (sqlite3_db_readonly(db->get(), "main") == 1) {
    return absl::FailedPreconditionError(
        absl::StrCat(path, " is read-only: a coordinator must write to it"));
  }
  RETURN_IF_ERROR(db->Execute("PRAGMA journal_mode = WAL"));
  RETURN_IF_ERROR(db->Execute(options.survive_power_loss ? "PRAGMA synchronous = FULL"
                                                         : "PRAGMA synchronous = NORMAL"));
  RETURN_IF_ERROR(
      db->Execute("PRAGMA secure_delete = OFF; PRAGMA temp_store = MEMORY; "
                  "PRAGMA cache_size = -65536; PRAGMA wal_autocheckpoint = 4000; PRAGMA "
                  "journal_size_limit = 67108864"));
  RETURN_IF_ERROR(PrepareSchema(*db, path, now));
  // A process that was killed may have left a commit in the log that was not synced yet. We read it
  // as committed and will answer by it, so it must be on disk first: a checkpoint syncs the log. A
  // full disk is no reason not to start: the log is synced before anything is written. A sync that
  // fails is, also where it fails for want of room (file systems that allocate late).
  const absl::Status synced = db->Execute("PRAGMA wal_checkpoint(PASSIVE)");
  const bool is_synced = sqlite3_extended_errcode(db->get()) != SQLITE_IOERR_FSYNC;
  if (!synced.ok() && !(absl::IsResourceExhausted(synced) && is_synced)) return synced;
  std::string coordinator_id;
  {
    ASSIGN_OR_RETURN(Statement id, db->Prepare("SELECT coordinator_id FROM coordinator"));
    ASSIGN_OR_RETURN(const bool row, id.Next());
    if (row) coordinator_id = id.Text(0);
  }
  return std::unique_ptr<RunStore>(
      new RunStore(options, std::move(lock), std::move(*db), std::move(coordinator_id)));
}

absl::Status RunStore::Begin() {
  EndReading();
  return db_.Execute("BEGIN IMMEDIATE");
}
absl::Status RunStore::Commit() {
  // SQLite moves the log into the database at a commit, but not while the connection reads.
  EndReading();
  return db_.Execute("COMMIT");
}
void RunStore::EndReading() { db_.RewindAll(); }
void RunStore::Rollback() {
  // Some errors have rolled back already.
  if (sqlite3_get_autocommit(db_.get()) == 0) (void)db_.Execute("ROLLBACK");
}

absl::Status RunStore::LimitPagesForTest(int64_t pages) {
  return db_.Execute(absl::StrCat("PRAGMA max_page_count = ", pages));
}

// ---- Reading back

namespace {

constexpr char kLoadTrials[] =
    "SELECT t.id, v.seconds, t.attempts, t.state, a.worker, a.failure_class, t.parent, t.orphaned, "
    "iif(d.fingerprint = '', 0, d.id), "
    "coalesce(v.json ->> '$.\"train.precision\"' = 'bf16', 0) "
    "FROM trials t JOIN variants v ON v.id = t.variant JOIN datasets d ON d.id = t.data "
    "LEFT JOIN attempts a ON t.state IN ('queued', 'leased') AND a.trial = t.id "
    "AND a.number = t.attempts ORDER BY t.id";
constexpr char kLoadFailures[] =
    "SELECT a.trial, a.failure_class, count(*) FROM attempts a JOIN trials t ON t.id = a.trial "
    "WHERE t.state IN ('queued', 'leased') AND a.number > t.budget_from AND a.outcome = 'failed' "
    "GROUP BY a.trial, a.failure_class ORDER BY a.trial";
constexpr char kLoadLosses[] =
    "SELECT a.trial, a.worker FROM attempts a JOIN trials t ON t.id = a.trial "
    "WHERE t.state IN ('queued', 'leased') AND a.number > t.budget_from "
    "AND a.failure_class = 'worker_lost' GROUP BY a.trial, a.worker "
    "ORDER BY a.trial, min(a.number)";
constexpr char kLoadPolicies[] =
    "SELECT r.id, v.deadline_us, v.retry_preempted, v.retry_worker_lost, v.retry_out_of_memory, "
    "v.retry_timeout, v.retry_error, v.retry_poison, r.priority, r.paused FROM roadmaps r "
    "JOIN revisions v ON v.roadmap = r.id AND v.revision = r.revision ORDER BY r.id";
constexpr char kLoadWanted[] =
    "SELECT rt.trial, rt.wanted, t.seed - v.seed_first, rv.role = 'baseline', rv.position, "
    "x.seconds FROM roadmaps r "
    "JOIN revisions v ON v.roadmap = r.id AND v.revision = r.revision "
    "JOIN roadmap_trials rt ON rt.roadmap = r.id AND rt.revision = r.revision "
    "JOIN trials t ON t.id = rt.trial JOIN variants x ON x.id = t.variant "
    "JOIN roadmap_variants rv ON rv.roadmap = r.id AND rv.revision = r.revision "
    "AND rv.variant = t.variant WHERE r.id = ? ORDER BY rt.trial";

absl::StatusOr<TrialState> StateOf(const Statement& row) {
  const std::string_view name = row.Text(3);
  if (name == "queued") {
    Queued queued;
    const std::optional<FailureClass> failure = FailureClassFromName(row.Text(5));
    if (failure == FailureClass::kWorkerLost || failure == FailureClass::kPreempted) {
      queued.lost_by = WorkerId{row.Int(4)};
      queued.lost_as = *failure;
    }
    return queued;
  }
  // The roadmap in whose turn it was leased is not remembered: filled in by whoever wants it.
  if (name == "leased") return Leased{WorkerId{row.Int(4)}, RoadmapId{}};
  const std::optional<Outcome> outcome = OutcomeFromName(name);
  if (!outcome) {
    return absl::DataLossError(
        absl::StrCat("trial ", row.Int(0), " is in the unknown state ", std::string(name)));
  }
  return Ended{*outcome, row.Int(7) != 0};
}

}  // namespace

absl::StatusOr<Scheduler::Snapshot> RunStore::LoadSnapshot() {
  Scheduler::Snapshot snapshot;
  std::map<int64_t, size_t> unfinished;  // trial -> index
  ASSIGN_OR_RETURN(Statement * trials, db_.Use(kLoadTrials));
  trials->Start();
  while (true) {
    ASSIGN_OR_RETURN(const bool row, trials->Next());
    if (!row) break;
    ASSIGN_OR_RETURN(TrialState state, StateOf(*trials));
    if (!std::holds_alternative<Ended>(state)) {
      unfinished.emplace_hint(unfinished.end(), trials->Int(0), snapshot.trials.size());
    }
    snapshot.trials.push_back({.id = TrialId{trials->Int(0)},
                               .cost_seconds = trials->Double(1),
                               .attempts = static_cast<int32_t>(trials->Int(2)),
                               .state = std::move(state)});
    if (!trials->IsNull(6)) snapshot.trials.back().parent = TrialId{trials->Int(6)};
    Needs& needs = snapshot.trials.back().needs;
    needs = {CorpusId{trials->Int(8)}, trials->Int(9) != 0};
    if (!trials->IsNull(6) && trials->Text(3) != "succeeded") {
      ASSIGN_OR_RETURN(needs.bf16, ComputesInBf16(snapshot.trials.back().id));
    }
  }
  ASSIGN_OR_RETURN(Statement * failures, db_.Use(kLoadFailures));
  failures->Start();
  while (true) {
    ASSIGN_OR_RETURN(const bool row, failures->Next());
    if (!row) break;
    const std::optional<FailureClass> failure = FailureClassFromName(failures->Text(1));
    if (!failure) continue;
    snapshot.trials[unfinished.at(failures->Int(0))].failures[static_cast<int>(*failure)] =
        static_cast<int>(failures->Int(2));
  }
  ASSIGN_OR_RETURN(Statement * losses, db_.Use(kLoadLosses));
  losses->Start();
  while (true) {
    ASSIGN_OR_RETURN(const bool row, losses->Next());
    if (!row) break;
    snapshot.trials[unfinished.at(losses->Int(0))].lost_with.push_back(WorkerId{losses->Int(1)});
  }
  ASSIGN_OR_RETURN(Statement * policies, db_.Use(kLoadPolicies));
  policies->Start();
  while (true) {
    ASSIGN_OR_RETURN(const bool row, policies->Next());
    if (!row) break;
    Scheduler::Snapshot::Roadmap roadmap{.id = RoadmapId{policies->Int(0)}};
    if (!policies->IsNull(1)) roadmap.policy.deadline = absl::FromUnixMicros(policies->Int(1));
    for (int i = 0; i < kFailureClasses; ++i) {
      roadmap.policy.retry.max[i] = policies->Int(2 + i);
    }
    roadmap.policy.poison = static_cast<int>(policies->Int(7));
    roadmap.priority = policies->Double(8);
    if (!policies->IsNull(9)) roadmap.paused = std::string(policies->Text(9));
    snapshot.roadmaps.push_back(std::move(roadmap));
  }
  for (Scheduler::Snapshot::Roadmap& roadmap : snapshot.roadmaps) {
    ASSIGN_OR_RETURN(Statement * wanted, db_.Use(kLoadWanted));
    wanted->Start(roadmap.id.value);
    while (true) {
      ASSIGN_OR_RETURN(const bool row, wanted->Next());
      if (!row) break;
      const TrialId trial{wanted->Int(0)};
      roadmap.trials.push_back({.trial = trial,
                                .replicate = static_cast<int>(wanted->Int(2)),
                                .baseline = wanted->Int(3) != 0,
                                .position = wanted->Int(4),
                                .cost_seconds = wanted->Double(5)});
      if (wanted->Int(1) == 0) {
        roadmap.given_up.push_back(trial);
        continue;
      }
      auto it = unfinished.find(trial.value);
      if (it == unfinished.end()) continue;
      Leased* leased = std::get_if<Leased>(&snapshot.trials[it->second].state);
      if (leased != nullptr && leased->roadmap.value == 0) leased->roadmap = roadmap.id;
    }
  }
  RETURN_IF_ERROR(LoadStandings(&snapshot));
  return snapshot;
}

absl::Status RunStore::LoadStandings(Scheduler::Snapshot* snapshot) {
  static constexpr char kDrained[] =
      "SELECT id, drained FROM workers WHERE left_us IS NULL AND drained IS NOT NULL";
  static constexpr char kNodes[] = "SELECT hostname, standing, reason FROM nodes";
  ASSIGN_OR_RETURN(Statement * drained, db_.Use(kDrained));
  drained->Start();
  while (true) {
    ASSIGN_OR_RETURN(const bool row, drained->Next());
    if (!row) break;
    snapshot->drained[WorkerId{drained->Int(0)}] = std::string(drained->Text(1));
  }
  ASSIGN_OR_RETURN(Statement * nodes, db_.Use(kNodes));
  nodes->Start();
  while (true) {
    ASSIGN_OR_RETURN(const bool row, nodes->Next());
    if (!row) return absl::OkStatus();
    const std::optional<Standing> standing = StandingFromName(nodes->Text(1));
    if (!standing) continue;
    snapshot->nodes[std::string(nodes->Text(0))] = {*standing, std::string(nodes->Text(2))};
  }
}

absl::StatusOr<std::vector<std::pair<WorkerId, WorkerInfo>>> RunStore::LoadWorkers() {
  static constexpr char kSql[] =
      "SELECT id, name, hostname, pid, slots, build, process_space FROM workers WHERE left_us IS "
      "NULL ORDER BY id";
  std::vector<std::pair<WorkerId, WorkerInfo>> workers;
  ASSIGN_OR_RETURN(Statement * select, db_.Use(kSql));
  select->Start();
  while (true) {
    ASSIGN_OR_RETURN(const bool row, select->Next());
    if (!row) return workers;
    workers.push_back({WorkerId{select->Int(0)},
                       {.name = std::string(select->Text(1)),
                        .hostname = std::string(select->Text(2)),
                        .build = std::string(select->Text(5)),
                        .pid = select->Int(3),
                        .process_space = std::string(select->Text(6)),
                        .slots = static_cast<int>(select->Int(4))}});
  }
}

absl::StatusOr<std::optional<CorpusId>> RunStore::FindCorpus(const std::string& fingerprint) {
  static constexpr char kSql[] = "SELECT id FROM datasets WHERE fingerprint = ?";
  if (fingerprint.empty()) return std::nullopt;
  ASSIGN_OR_RETURN(Statement * select, db_.Use(kSql));
  ASSIGN_OR_RETURN(const std::optional<int64_t> id, select->One(fingerprint));
  if (!id) return std::nullopt;
  return CorpusId{*id};
}

absl::StatusOr<RunStore::Corpus> RunStore::LoadCorpus(CorpusId id) {
  static constexpr char kSql[] = "SELECT name, fingerprint FROM datasets WHERE id = ?";
  ASSIGN_OR_RETURN(Statement * select, db_.Use(kSql));
  select->Start(id.value);
  ASSIGN_OR_RETURN(const bool row, select->Next());
  if (!row) return absl::DataLossError(absl::StrCat("dataset ", id.value, " is not recorded"));
  return Corpus{std::string(select->Text(0)), std::string(select->Text(1))};
}

absl::StatusOr<std::optional<std::string>> RunStore::WhyDrained(WorkerId worker) {
  static constexpr char kSql[] = "SELECT drained FROM workers WHERE id = ? AND drained IS NOT NULL";
  ASSIGN_OR_RETURN(Statement * select, db_.Use(kSql));
  select->Start(worker.value);
  ASSIGN_OR_RETURN(const bool row, select->Next());
  if (!row) return std::nullopt;
  return std::string(select->Text(0));
}

absl::StatusOr<std::vector<RoadmapInfo>> RunStore::LoadRoadmaps() {
  static constexpr char kSql[] =
      "SELECT r.id, r.name, r.revision, v.metric, v.goal = 'maximize', v.submitted_us "
      "FROM roadmaps r JOIN revisions v ON v.roadmap = r.id AND v.revision = r.revision ORDER BY "
      "r.id";
  std::vector<RoadmapInfo> roadmaps;
  ASSIGN_OR_RETURN(Statement * select, db_.Use(kSql));
  select->Start();
  while (true) {
    ASSIGN_OR_RETURN(const bool row, select->Next());
    if (!row) return roadmaps;
    roadmaps.push_back({.id = RoadmapId{select->Int(0)},
                        .name = std::string(select->Text(1)),
                        .revision = static_cast<int>(select->Int(2)),
                        .metric = std::string(select->Text(3)),
                        .maximize = select->Int(4) != 0,
                        .submitted = absl::FromUnixMicros(select->Int(5))});
  }
}

// A trial's row beside the roadmap's baseline, and only if both are measured on the same held-out
// ids: perplexities over other vocabularies or texts do not compare.
#define SAFFRON_COMPARABLE_TRIALS                                                             \
  "roadmaps r JOIN roadmap_trials rt ON rt.roadmap = r.id AND rt.revision = r.revision "      \
  "JOIN trials t ON t.id = rt.trial JOIN variants v ON v.id = t.variant "                     \
  "JOIN roadmap_variants rv ON rv.roadmap = r.id AND rv.revision = r.revision "               \
  "AND rv.variant = t.variant "                                                               \
  "LEFT JOIN roadmap_variants rb ON rb.roadmap = r.id AND rb.revision = r.revision "          \
  "AND rb.role = 'baseline' LEFT JOIN variants b ON b.id = rb.variant "                       \
  "WHERE (b.id IS NULL OR (v.json ->> '$.\"data.corpus\"' IS b.json ->> '$.\"data.corpus\"' " \
  "AND v.json ->> '$.\"data.tokenizer\"' IS b.json ->> '$.\"data.tokenizer\"' "               \
  "AND v.json ->> '$.\"data.vocab\"' IS b.json ->> '$.\"data.vocab\"' "                       \
  "AND v.json ->> '$.\"data.eval_tokens\"' IS b.json ->> '$.\"data.eval_tokens\"')) "

absl::StatusOr<std::optional<RunStore::Best>> RunStore::FindBest(const RoadmapInfo& roadmap) {
  static constexpr char kSql[] =
      "SELECT t.id, m.value, rv.label FROM results m JOIN " SAFFRON_COMPARABLE_TRIALS
      "AND m.trial = t.id AND m.key = ?2 AND m.kind = 0 AND t.state = 'succeeded' AND r.id = ?1 "
      "ORDER BY m.value * ?3, t.id LIMIT 1";
  ASSIGN_OR_RETURN(Statement * select, db_.Use(kSql));
  select->Start(roadmap.id.value, roadmap.metric, roadmap.maximize ? -1.0 : 1.0);
  ASSIGN_OR_RETURN(const bool row, select->Next());
  if (!row) return std::nullopt;
  return Best{TrialId{select->Int(0)}, select->Double(1), std::string(select->Text(2))};
}

absl::StatusOr<std::string> RunStore::LastFailure(const RoadmapInfo& roadmap) {
  static constexpr char kSql[] =
      "SELECT t.message FROM roadmap_trials rt JOIN trials t ON t.id = rt.trial "
      "WHERE rt.roadmap = ? AND rt.revision = ? AND t.state = 'failed' "
      "ORDER BY t.ended_us DESC, t.id DESC LIMIT 1";
  ASSIGN_OR_RETURN(Statement * select, db_.Use(kSql));
  select->Start(roadmap.id.value, roadmap.revision);
  ASSIGN_OR_RETURN(const bool row, select->Next());
  return row ? std::string(select->Text(0)) : std::string();
}

absl::StatusOr<RunStore::TrialRecord> RunStore::LoadTrialRecord(TrialId trial) {
  static constexpr char kTrial[] =
      "SELECT message, failure_class, ended_us FROM trials WHERE id = ?";
  static constexpr char kAttempts[] =
      "SELECT a.number, w.name, a.outcome, a.failure_class, a.message, a.assigned_us, a.ended_us, "
      "w.hostname "
      "FROM attempts a LEFT JOIN workers w ON w.id = a.worker WHERE a.trial = ? ORDER BY a.number";
  TrialRecord record;
  ASSIGN_OR_RETURN(Statement * select, db_.Use(kTrial));
  select->Start(trial.value);
  ASSIGN_OR_RETURN(bool row, select->Next());
  if (row) {
    record.message = select->Text(0);
    record.failure_class = select->Text(1);
    if (!select->IsNull(2)) record.ended = absl::FromUnixMicros(select->Int(2));
  }
  ASSIGN_OR_RETURN(select, db_.Use(kAttempts));
  select->Start(trial.value);
  while (true) {
    ASSIGN_OR_RETURN(row, select->Next());
    if (!row) return record;
    AttemptRecord attempt{.number = static_cast<int>(select->Int(0)),
                          .worker = std::string(select->Text(1)),
                          .outcome = std::string(select->Text(2)),
                          .failure_class = std::string(select->Text(3)),
                          .message = std::string(select->Text(4)),
                          .assigned = absl::FromUnixMicros(select->Int(5)),
                          .ended = {}};
    if (!select->IsNull(6)) attempt.ended = absl::FromUnixMicros(select->Int(6));
    record.hosts.emplace(select->Text(7));
    record.attempts.push_back(std::move(attempt));
  }
}

absl::StatusOr<std::optional<std::string>> RunStore::ComparableLabel(RoadmapId roadmap,
                                                                     TrialId trial) {
  static constexpr char kSql[] =
      "SELECT rv.label FROM " SAFFRON_COMPARABLE_TRIALS "AND r.id = ? AND t.id = ?";
  ASSIGN_OR_RETURN(Statement * select, db_.Use(kSql));
  select->Start(roadmap.value, trial.value);
  ASSIGN_OR_RETURN(const bool row, select->Next());
  if (!row) return std::nullopt;
  return std::string(select->Text(0));
}

absl::Status RunStore::LoadInit(TrialId trial, RoadmapId roadmap, TrialOrder* order) {
  // Of the attempts that left one, the last: the one whose result was taken is never followed.
  static constexpr char kCheckpoint[] =
      "SELECT coalesce(v.init_checkpoint, 'last'), coalesce(a.sha256, ''), coalesce(a.bytes, 0), "
      "coalesce(a.step, 0), t.parent, coalesce(v.json ->> '$.\"init_from.state\"' = 'reset', 0) "
      "FROM trials t JOIN variants v ON v.id = t.variant "
      "LEFT JOIN artifacts a ON a.id = (SELECT x.id FROM artifacts x WHERE x.trial = t.parent "
      "AND x.kind = 'checkpoint' AND x.role = coalesce(v.init_checkpoint, 'last') "
      "AND x.deleted_us IS NULL ORDER BY x.attempt DESC, x.id DESC LIMIT 1) "
      "WHERE t.id = ? AND t.parent IS NOT NULL";
  static constexpr char kDerive[] =
      "SELECT j.value FROM trials t JOIN variants v ON v.id = t.variant, "
      "json_each(v.init_derive) j WHERE t.id = ? ORDER BY j.id";
  ASSIGN_OR_RETURN(Statement * select, db_.Use(kCheckpoint));
  select->Start(trial.value);
  ASSIGN_OR_RETURN(bool row, select->Next());
  if (!row) return absl::OkStatus();
  order->init_from = ArtifactRecord{.sha256 = std::string(select->Text(1)),
                                    .bytes = select->Int(2),
                                    .kind = kCheckpointArtifact,
                                    .role = std::string(select->Text(0)),
                                    .step = select->Int(3)};
  order->parent = select->Int(4);
  order->init_reset_state = select->Int(5) != 0;
  ASSIGN_OR_RETURN(select, db_.Use(kDerive));
  select->Start(trial.value);
  while (true) {
    ASSIGN_OR_RETURN(row, select->Next());
    if (!row) break;
    order->init_derive.emplace_back(select->Text(0));
  }
  if (!order->init_from->sha256.empty()) return absl::OkStatus();
  ASSIGN_OR_RETURN(TrialOrder parent, LoadOrder(TrialId{order->parent}, roadmap));
  order->parent_order = std::make_shared<const TrialOrder>(std::move(parent));
  return absl::OkStatus();
}

absl::StatusOr<TrialOrder> RunStore::LoadOrder(TrialId trial, RoadmapId roadmap) {
  static constexpr char kTrial[] =
      "SELECT t.seed, d.fingerprint, t.variant FROM trials t JOIN datasets d ON d.id = t.data "
      "WHERE t.id = ?";
  static constexpr char kRoadmap[] =
      "SELECT r.name || '/' || rv.block || ' #' || rv.position, "
      "coalesce(rt.trial_time_us, v.trial_time_us), coalesce(rt.memory_bytes, v.memory_bytes) "
      "FROM roadmaps r JOIN revisions v ON v.roadmap = r.id AND v.revision = r.revision "
      "JOIN roadmap_variants rv ON rv.roadmap = r.id AND rv.revision = r.revision "
      "LEFT JOIN roadmap_trials rt ON rt.roadmap = r.id AND rt.revision = r.revision "
      "AND rt.trial = ?3 WHERE r.id = ?1 AND rv.variant = ?2";
  static constexpr char kParams[] =
      "SELECT j.key, j.type, j.value FROM variants v, json_each(v.json) j WHERE v.id = ? "
      "AND j.key NOT GLOB 'init_from.*'";
  TrialOrder order;
  ASSIGN_OR_RETURN(Statement * select, db_.Use(kTrial));
  select->Start(trial.value);
  ASSIGN_OR_RETURN(bool row, select->Next());
  if (!row)
    return absl::DataLossError(absl::StrCat("trial ", trial.value, " is not in the database"));
  order.seed = static_cast<uint64_t>(select->Int(0));
  order.fingerprint = select->Text(1);
  const int64_t variant = select->Int(2);

  ASSIGN_OR_RETURN(select, db_.Use(kRoadmap));
  select->Start(roadmap.value, variant, trial.value);
  ASSIGN_OR_RETURN(row, select->Next());
  if (row) {
    order.label = select->Text(0);
    order.trial_time = OptionalMicros(*select, 1);
    if (!select->IsNull(2)) order.memory_bytes = select->Int(2);
  }

  RETURN_IF_ERROR(LoadInit(trial, roadmap, &order));
  ASSIGN_OR_RETURN(select, db_.Use(kParams));
  select->Start(variant);
  while (true) {
    ASSIGN_OR_RETURN(row, select->Next());
    if (!row) return order;
    const std::string_view type = select->Text(1);
    ParamValue& value = order.params[std::string(select->Text(0))];
    if (type == "integer") {
      value = select->Int(2);
    } else if (type == "real") {
      value = select->Double(2);
    } else if (type == "text") {
      value = std::string(select->Text(2));
    } else {
      value = type == "true";
    }
  }
}

}  // namespace saffron
