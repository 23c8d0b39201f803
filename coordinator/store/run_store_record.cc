// What the coordinator writes while trials run: the scheduler's decisions, metrics, workers.

#include <cmath>

#include "absl/strings/str_cat.h"
#include "coordinator/store/run_store.h"
#include "core/base/status_macros.h"

namespace saffron {
namespace {

// How metrics keep what a REAL column cannot: NaN is NULL in SQLite.
enum MetricKind { kFinite = 0, kNaN = 1, kPositiveInfinity = 2, kNegativeInfinity = 3 };

MetricKind KindOf(double value) {
  if (std::isnan(value)) return kNaN;
  if (std::isinf(value)) return value > 0 ? kPositiveInfinity : kNegativeInfinity;
  return kFinite;
}

std::optional<std::string_view> NameOf(std::optional<FailureClass> failure) {
  if (!failure) return std::nullopt;
  return FailureClassName(*failure);
}

std::optional<int64_t> MicrosOf(std::optional<absl::Time> time) {
  if (!time) return std::nullopt;
  return absl::ToUnixMicros(*time);
}

constexpr char kInsertEvent[] =
    "INSERT INTO events (at_us, kind, trial, attempt, worker, roadmap, reason) "
    "VALUES (?, ?, ?, ?, ?, ?, ?)";

}  // namespace

absl::StatusOr<WorkerId> RunStore::RecordWorker(const WorkerInfo& worker, absl::Time now) {
  static constexpr char kUpsert[] =
      "INSERT INTO workers (name, hostname, pid, process_space, slots, build, registered_us) "
      "VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (name) DO UPDATE SET hostname = excluded.hostname, "
      "pid = excluded.pid, process_space = excluded.process_space, slots = excluded.slots, build = "
      "excluded.build, left_us = NULL "
      "RETURNING id";
  ASSIGN_OR_RETURN(Statement * upsert, db_.Use(kUpsert));
  const int64_t now_us = absl::ToUnixMicros(now);
  upsert->Start(worker.name, worker.hostname, worker.pid, worker.process_space, worker.slots,
                worker.build, now_us);
  WorkerId id;
  while (true) {  // to the end: the row is only written then
    ASSIGN_OR_RETURN(const bool row, upsert->Next());
    if (!row) break;
    id = WorkerId{upsert->Int(0)};
  }
  RETURN_IF_ERROR(RecordEvent("joined", std::nullopt, id,
                              absl::StrCat(worker.hostname, " process ", worker.pid), now));
  return id;
}

absl::Status RunStore::RecordEvent(std::string_view kind, std::optional<RoadmapId> roadmap,
                                   std::optional<WorkerId> worker, std::string_view reason,
                                   absl::Time now) {
  ASSIGN_OR_RETURN(Statement * insert, db_.Use(kInsertEvent));
  std::optional<int64_t> roadmap_id, worker_id;
  if (roadmap) roadmap_id = roadmap->value;
  if (worker) worker_id = worker->value;
  return insert->Run(absl::ToUnixMicros(now), kind, std::nullopt, std::nullopt, worker_id,
                     roadmap_id, reason);
}

absl::Status RunStore::RecordTrialEvent(std::string_view kind, TrialId trial,
                                        std::optional<int64_t> attempt,
                                        std::optional<int64_t> worker, std::string_view reason,
                                        int64_t now_us) {
  ASSIGN_OR_RETURN(Statement * insert, db_.Use(kInsertEvent));
  return insert->Run(now_us, kind, trial.value, attempt, worker, std::nullopt, reason);
}

absl::Status RunStore::Record(const Effects& effects, absl::Time now) {
  const int64_t now_us = absl::ToUnixMicros(now);
  for (const Effect& effect : effects) {
    RETURN_IF_ERROR(std::visit([&](const auto& e) { return On(e, now_us); }, effect));
  }
  return absl::OkStatus();
}

absl::Status RunStore::On(const AttemptAssigned& e, int64_t now_us) {
  static constexpr char kAttempt[] =
      "INSERT INTO attempts (trial, number, worker, assigned_us, message) VALUES (?, ?, ?, ?, '')";
  static constexpr char kTrial[] = "UPDATE trials SET state = 'leased', attempts = ? WHERE id = ?";
  const int64_t trial = e.attempt.trial.value;
  ASSIGN_OR_RETURN(Statement * attempt, db_.Use(kAttempt));
  RETURN_IF_ERROR(attempt->Run(trial, e.attempt.number, e.worker.value, now_us));
  ASSIGN_OR_RETURN(Statement * update, db_.Use(kTrial));
  RETURN_IF_ERROR(update->Run(e.attempt.number, trial));
  return RecordTrialEvent("leased", e.attempt.trial, e.attempt.number, e.worker.value, "", now_us);
}

absl::Status RunStore::On(const AttemptRepeated&, int64_t) { return absl::OkStatus(); }

absl::Status RunStore::On(const AttemptRecovered& e, int64_t now_us) {
  static constexpr char kAttempt[] =
      "UPDATE attempts SET ended_us = NULL, outcome = NULL, failure_class = NULL, message = '' "
      "WHERE trial = ? AND number = ?";
  static constexpr char kTrial[] = "UPDATE trials SET state = 'leased' WHERE id = ?";
  ASSIGN_OR_RETURN(Statement * attempt, db_.Use(kAttempt));
  RETURN_IF_ERROR(attempt->Run(e.attempt.trial.value, e.attempt.number));
  ASSIGN_OR_RETURN(Statement * trial, db_.Use(kTrial));
  RETURN_IF_ERROR(trial->Run(e.attempt.trial.value));
  return RecordTrialEvent("recovered", e.attempt.trial, e.attempt.number, e.worker.value,
                          "its worker came back with it still running", now_us);
}

absl::Status RunStore::On(const AttemptEnded& e, int64_t now_us) {
  static constexpr char kAttempt[] =
      "UPDATE attempts SET ended_us = ?, outcome = ?, failure_class = ?, message = ? "
      "WHERE trial = ? AND number = ?";
  ASSIGN_OR_RETURN(Statement * attempt, db_.Use(kAttempt));
  RETURN_IF_ERROR(attempt->Run(now_us, OutcomeName(e.outcome), NameOf(e.failure), e.message,
                               e.attempt.trial.value, e.attempt.number));
  std::string_view kind;
  std::string reason = e.message;
  if (e.late) {
    kind = "late_result";
    reason = "the attempt had been written off, but its result is the first";
  } else if (e.failure) {
    kind = "attempt_failed";
    reason = absl::StrCat(std::string(FailureClassName(*e.failure)), ": ", e.message);
  } else if (e.outcome == Outcome::kCancelled) {
    kind = "attempt_cancelled";
  } else {
    return absl::OkStatus();  // the trial's own event follows
  }
  return RecordTrialEvent(kind, e.attempt.trial, e.attempt.number, std::nullopt, reason, now_us);
}

absl::Status RunStore::On(const TrialQueued& e, int64_t now_us) {
  static constexpr char kAgain[] = "UPDATE trials SET state = 'queued' WHERE id = ?";
  static constexpr char kFresh[] =
      "UPDATE trials SET state = 'queued', ended_us = NULL, failure_class = NULL, message = '', "
      "orphaned = 0, budget_from = attempts WHERE id = ?";
  if (!e.is_new) {  // or RecordSubmission has just made it so
    ASSIGN_OR_RETURN(Statement * update, db_.Use(e.fresh_budgets ? kFresh : kAgain));
    RETURN_IF_ERROR(update->Run(e.trial.value));
  }
  return RecordTrialEvent("queued", e.trial, std::nullopt, std::nullopt, e.reason, now_us);
}

absl::Status RunStore::On(const TrialEnded& e, int64_t now_us) {
  static constexpr char kTrial[] =
      "UPDATE trials SET state = ?, failure_class = ?, message = ?, ended_us = ?, orphaned = ? "
      "WHERE id = ?";
  const std::string_view outcome = OutcomeName(e.outcome);
  ASSIGN_OR_RETURN(Statement * update, db_.Use(kTrial));
  RETURN_IF_ERROR(
      update->Run(outcome, NameOf(e.failure), e.message, now_us, e.orphaned, e.trial.value));
  return RecordTrialEvent(outcome, e.trial, std::nullopt, std::nullopt, e.message, now_us);
}

absl::Status RunStore::On(const AttemptAbandoned&, int64_t) { return absl::OkStatus(); }
absl::Status RunStore::On(const ReportAcknowledged&, int64_t) { return absl::OkStatus(); }

absl::Status RunStore::On(const WorkerLeft& e, int64_t now_us) {
  static constexpr char kWorker[] = "UPDATE workers SET left_us = ? WHERE id = ?";
  ASSIGN_OR_RETURN(Statement * update, db_.Use(kWorker));
  RETURN_IF_ERROR(update->Run(now_us, e.worker.value));
  return RecordEvent(e.drained ? "left" : "lost", std::nullopt, e.worker,
                     e.drained ? "it had handed everything back" : e.why,
                     absl::FromUnixMicros(now_us));
}

absl::Status RunStore::On(const WantChanged& e, int64_t) {
  static constexpr char kWant[] =
      "UPDATE roadmap_trials SET wanted = ? WHERE roadmap = ?2 AND trial = ?3 "
      "AND revision = (SELECT revision FROM roadmaps WHERE id = ?2)";
  ASSIGN_OR_RETURN(Statement * update, db_.Use(kWant));
  return update->Run(e.wanted, e.roadmap.value, e.trial.value);
}

absl::Status RunStore::On(const DeadlineLifted& e, int64_t) {
  static constexpr char kDeadline[] =
      "UPDATE revisions SET deadline_us = NULL WHERE roadmap = ?1 "
      "AND revision = (SELECT revision FROM roadmaps WHERE id = ?1)";
  ASSIGN_OR_RETURN(Statement * update, db_.Use(kDeadline));
  return update->Run(e.roadmap.value);
}

absl::Status RunStore::On(const PauseChanged& e, int64_t now_us) {
  static constexpr char kSql[] = "UPDATE roadmaps SET paused = ? WHERE id = ?";
  ASSIGN_OR_RETURN(Statement * update, db_.Use(kSql));
  RETURN_IF_ERROR(update->Run(e.reason, e.roadmap.value));
  return RecordEvent(e.reason ? "pause" : "unpause", e.roadmap, std::nullopt, e.reason.value_or(""),
                     absl::FromUnixMicros(now_us));
}

absl::Status RunStore::On(const PriorityChanged& e, int64_t now_us) {
  static constexpr char kSql[] = "UPDATE roadmaps SET priority = ? WHERE id = ?";
  ASSIGN_OR_RETURN(Statement * update, db_.Use(kSql));
  RETURN_IF_ERROR(update->Run(e.priority, e.roadmap.value));
  return RecordEvent("priority", e.roadmap, std::nullopt, absl::StrCat(e.priority),
                     absl::FromUnixMicros(now_us));
}

absl::Status RunStore::On(const DrainChanged& e, int64_t now_us) {
  static constexpr char kSql[] = "UPDATE workers SET drained = ? WHERE id = ?";
  ASSIGN_OR_RETURN(Statement * update, db_.Use(kSql));
  RETURN_IF_ERROR(update->Run(e.reason, e.worker.value));
  return RecordEvent(e.reason ? "drain" : "undrain", std::nullopt, e.worker, e.reason.value_or(""),
                     absl::FromUnixMicros(now_us));
}

absl::Status RunStore::On(const StandingChanged& e, int64_t now_us) {
  static constexpr char kClear[] = "DELETE FROM nodes WHERE hostname = ?";
  static constexpr char kSet[] =
      "INSERT INTO nodes (hostname, standing, reason, changed_us) VALUES (?, ?, ?, ?) "
      "ON CONFLICT (hostname) DO UPDATE SET standing = excluded.standing, "
      "reason = excluded.reason, changed_us = excluded.changed_us";
  if (e.standing == Standing::kNormal) {
    ASSIGN_OR_RETURN(Statement * clear, db_.Use(kClear));
    RETURN_IF_ERROR(clear->Run(e.host));
  } else {
    ASSIGN_OR_RETURN(Statement * set, db_.Use(kSet));
    RETURN_IF_ERROR(set->Run(e.host, StandingName(e.standing), e.reason, now_us));
  }
  const std::string_view kind = e.standing == Standing::kNormal        ? "node_forgiven"
                                : e.standing == Standing::kQuarantined ? "node_quarantined"
                                                                       : "node_trusted";
  return RecordEvent(kind, std::nullopt, std::nullopt, absl::StrCat(e.host, ": ", e.reason),
                     absl::FromUnixMicros(now_us));
}

absl::Status RunStore::RecordCurve(TrialId trial, const std::vector<MetricValue>& values) {
  static constexpr char kInsert[] =
      "INSERT OR REPLACE INTO metrics (trial, key, step, value, kind) VALUES (?, ?, ?, ?, ?)";
  ASSIGN_OR_RETURN(Statement * insert, db_.Use(kInsert));
  for (const MetricValue& v : values) {
    RETURN_IF_ERROR(insert->Run(trial.value, v.key, v.step, v.value, int{KindOf(v.value)}));
  }
  return absl::OkStatus();
}

absl::Status RunStore::RecordResult(AttemptId attempt, const std::vector<MetricValue>& values,
                                    std::optional<absl::Time> started,
                                    std::optional<absl::Time> finished) {
  static constexpr char kInsert[] =
      "INSERT OR REPLACE INTO results (trial, key, value, kind) VALUES (?, ?, ?, ?)";
  static constexpr char kTimes[] =
      "UPDATE attempts SET started_us = ?, finished_us = ? WHERE trial = ? AND number = ?";
  ASSIGN_OR_RETURN(Statement * insert, db_.Use(kInsert));
  for (const MetricValue& v : values) {
    RETURN_IF_ERROR(insert->Run(attempt.trial.value, v.key, v.value, int{KindOf(v.value)}));
  }
  ASSIGN_OR_RETURN(Statement * times, db_.Use(kTimes));
  return times->Run(MicrosOf(started), MicrosOf(finished), attempt.trial.value, attempt.number);
}

}  // namespace saffron
