#include "coordinator/rpc/translate.h"

#include "absl/strings/str_cat.h"
#include "core/base/status_macros.h"

namespace saffron {
namespace {

void SetDuration(absl::Duration duration, google::protobuf::Duration* out) {
  out->set_seconds(absl::IDivDuration(duration, absl::Seconds(1), &duration));
  out->set_nanos(static_cast<int32_t>(absl::ToInt64Nanoseconds(duration)));
}

AttemptId FromProto(const v1::AttemptRef& ref) { return {TrialId{ref.trial_id()}, ref.attempt()}; }

void SetRef(AttemptId attempt, v1::AttemptRef* out) {
  out->set_trial_id(attempt.trial.value);
  out->set_attempt(attempt.number);
}

std::vector<MetricValue> FromProto(
    const google::protobuf::RepeatedPtrField<v1::Measurement>& measurements) {
  std::vector<MetricValue> values;
  values.reserve(measurements.size());
  for (const v1::Measurement& m : measurements) values.push_back({m.key(), m.step(), m.value()});
  return values;
}

absl::StatusOr<AttemptReport> ReportOf(const v1::AttemptResult& result) {
  AttemptReport report{.attempt = FromProto(result.ref()), .message = result.message()};
  switch (result.outcome()) {
    case v1::OUTCOME_SUCCEEDED:
      report.outcome = Outcome::kSucceeded;
      return report;
    case v1::OUTCOME_DIVERGED:
      report.outcome = Outcome::kDiverged;
      return report;
    case v1::OUTCOME_PRUNED:
      report.outcome = Outcome::kPruned;
      return report;
    case v1::OUTCOME_CANCELLED:
      report.outcome = Outcome::kCancelled;
      return report;
    case v1::OUTCOME_FAILED:
      report.outcome = Outcome::kFailed;
      break;
    default:
      return absl::InvalidArgumentError(absl::StrCat("finished trial ", result.ref().trial_id(),
                                                     ": want an outcome, got ", result.outcome()));
  }
  const int failure = result.failure_class() - v1::FAILURE_CLASS_PREEMPTED;
  if (failure < 0 || failure >= kFailureClasses) {
    return absl::InvalidArgumentError(absl::StrCat("failed trial ", result.ref().trial_id(),
                                                   ": want a failure class, got ",
                                                   result.failure_class()));
  }
  report.failure = static_cast<FailureClass>(failure);
  return report;
}

std::optional<absl::Time> TimeOf(bool has, const google::protobuf::Timestamp& t) {
  if (!has) return std::nullopt;
  return absl::FromUnixSeconds(t.seconds()) + absl::Nanoseconds(t.nanos());
}

void SetValue(const ParamValue& value, v1::ParamValue* out) {
  if (const bool* b = std::get_if<bool>(&value)) {
    out->set_boolean(*b);
  } else if (const int64_t* i = std::get_if<int64_t>(&value)) {
    out->set_integer(*i);
  } else if (const double* d = std::get_if<double>(&value)) {
    out->set_number(*d);
  } else {
    out->set_text(std::get<std::string>(value));
  }
}

void SetArtifact(const ArtifactRecord& record, v1::Artifact* out) {
  out->set_sha256(record.sha256);
  out->set_bytes(record.bytes);
  out->set_kind(record.kind);
  out->set_role(record.role);
  out->set_step(record.step);
}

}  // namespace

absl::Duration FromProto(const google::protobuf::Duration& d) {
  return absl::Seconds(d.seconds()) + absl::Nanoseconds(d.nanos());
}

RegisterCall FromProto(const v1::RegisterRequest& request) {
  return {{.name = request.worker_id(),
           .hostname = request.hostname(),
           .build = request.build(),
           .pid = request.pid(),
           .process_space = request.process_space(),
           .slots = request.slots()},
          request.numerics_version()};
}

v1::RegisterResponse ToProto(const RegisterAnswer& answer) {
  v1::RegisterResponse response;
  SetDuration(answer.lease, response.mutable_lease());
  response.set_coordinator_id(answer.coordinator_id);
  return response;
}

absl::StatusOr<SyncCall> FromProto(const v1::SyncRequest& request) {
  SyncCall call{.worker = request.worker_id(),
                .want = request.want(),
                .wait = FromProto(request.wait()),
                .draining = request.draining(),
                .sequence = request.sequence()};
  for (const v1::AttemptProgress& p : request.running()) {
    call.running.push_back({FromProto(p.ref()), p.first_sequence(), FromProto(p.measurements())});
  }
  for (const v1::AttemptResult& r : request.finished()) {
    ASSIGN_OR_RETURN(AttemptReport report, ReportOf(r));
    call.finished.push_back({std::move(report), FromProto(r.final_metrics()),
                             TimeOf(r.has_started(), r.started()),
                             TimeOf(r.has_ended(), r.ended())});
  }
  return call;
}

void ToProto(const SyncAnswer& answer, v1::SyncResponse* response) {
  for (const AssignedTrial& a : answer.assignments) {
    v1::Assignment* out = response->add_assignments();
    SetRef(a.attempt, out->mutable_ref());
    for (const auto& [key, value] : a.order.params) {
      v1::Param* param = out->mutable_variant()->add_params();
      param->set_key(key);
      SetValue(value, param->mutable_value());
    }
    out->set_seed(a.order.seed);
    out->set_data_fingerprint(a.order.fingerprint);
    if (a.order.trial_time) SetDuration(*a.order.trial_time, out->mutable_time_limit());
    out->set_memory_limit_bytes(a.order.memory_bytes.value_or(0));
    out->set_label(a.order.label);
    if (a.order.resume_from) SetArtifact(*a.order.resume_from, out->mutable_resume_from());
    for (const std::string& role : a.order.keep_checkpoints) out->add_keep_checkpoints(role);
  }
  for (AttemptId attempt : answer.abandon) SetRef(attempt, response->add_abandon());
  for (AttemptId attempt : answer.acknowledged)
    SetRef(attempt, response->add_results_acknowledged());
  for (const auto& [attempt, next] : answer.durable) {
    v1::MeasurementsDurable* out = response->add_measurements_durable();
    SetRef(attempt, out->mutable_ref());
    out->set_next_sequence(next);
  }
  SetDuration(answer.next_sync, response->mutable_next_sync());
}

v1::PlanResponse ToProto(const PreparedSubmission& prepared, const SubmissionPlan& plan) {
  v1::PlanResponse out;
  out.set_variants(plan.variants);
  for (const BlockStatistics& block : prepared.blocks) {
    v1::BlockPlan* b = out.add_blocks();
    b->set_name(block.name);
    b->set_variants(block.distinct);
    b->set_collapsed(block.collapsed);
    b->set_excluded(block.excluded);
    out.set_collapsed(out.collapsed() + block.collapsed);
    out.set_excluded(out.excluded() + block.excluded);
  }
  out.set_trials(plan.trials);
  out.set_trials_new(plan.trials_new);
  out.set_trials_cached(plan.trials_cached);
  out.set_trials_pending(plan.trials_pending);
  out.set_trials_failed(plan.trials_failed);
  out.set_trials_cancelled(plan.trials_cancelled);
  out.set_trials_orphaned(plan.trials_orphaned);
  for (const SubmissionChange& change : plan.changes) {
    v1::Change* c = out.add_changes();
    c->set_key(change.key);
    c->set_from(change.from);
    c->set_to(change.to);
    c->set_trials(change.trials);
  }
  out.set_estimated_core_seconds(plan.seconds);
  for (const std::string& note : prepared.notes) out.add_notes(note);
  return out;
}

v1::RoadmapStatus ToProto(const RoadmapStatus& status) {
  v1::RoadmapStatus out;
  out.set_roadmap_id(status.roadmap.id.value);
  out.set_name(status.roadmap.name);
  out.set_revision(status.roadmap.revision);
  const Scheduler::RoadmapCounts& counts = status.counts;
  out.set_total(counts.total);
  out.set_queued(counts.queued);
  out.set_running(counts.leased);
  out.set_succeeded(counts.of(Outcome::kSucceeded));
  out.set_diverged(counts.of(Outcome::kDiverged));
  out.set_pruned(counts.of(Outcome::kPruned));
  out.set_failed(counts.of(Outcome::kFailed));
  out.set_cancelled(counts.of(Outcome::kCancelled));
  out.set_workers(status.workers);
  out.set_slots(status.slots);
  out.set_cost_done(counts.cost_done);
  out.set_cost_total(counts.cost_total);
  out.set_metric(status.roadmap.metric);
  out.set_has_best(status.best.has_value());
  if (status.best) {
    out.set_best_value(status.best->value);
    out.set_best_trial(status.best->trial.value);
    out.set_best_label(status.best->label);
  }
  out.set_last_failure(status.last_failure);
  out.set_paused(status.paused);
  return out;
}

ControlCall FromProto(const v1::ControlRequest& request) {
  return {.roadmap = request.roadmap(),
          .trials = {request.trial_ids().begin(), request.trial_ids().end()},
          .reason = request.reason()};
}

void AddRow(const Statement& row, v1::QueryRows* rows) {
  v1::QueryRow* out = rows->add_rows();
  sqlite3_stmt* s = row.get();
  for (int i = 0; i < sqlite3_column_count(s); ++i) {
    v1::QueryValue* value = out->add_values();
    switch (sqlite3_column_type(s, i)) {
      case SQLITE_INTEGER:
        value->set_integer(row.Int(i));
        break;
      case SQLITE_FLOAT:
        value->set_number(row.Double(i));
        break;
      case SQLITE_TEXT:
        value->set_text(std::string(row.Text(i)));
        break;
      case SQLITE_BLOB:
        value->set_blob(sqlite3_column_blob(s, i), sqlite3_column_bytes(s, i));
        break;
    }
  }
}

}  // namespace saffron
