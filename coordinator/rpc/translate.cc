#include "coordinator/rpc/translate.h"

#include <algorithm>

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

std::optional<FailureClass> FromProto(v1::FailureClass failure) {
  const int index = failure - v1::FAILURE_CLASS_PREEMPTED;
  if (index < 0 || index >= kFailureClasses) return std::nullopt;
  return static_cast<FailureClass>(index);
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
  const std::optional<FailureClass> failure = FromProto(result.failure_class());
  if (!failure) {
    return absl::InvalidArgumentError(absl::StrCat("failed trial ", result.ref().trial_id(),
                                                   ": want a failure class, got ",
                                                   result.failure_class()));
  }
  report.failure = *failure;
  report.no_corpus = result.has_missing_corpus();
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
                .sequence = request.sequence(),
                .missing_more = request.missing_more(),
                .no_bf16 = request.no_bf16()};
  for (const v1::CorpusRef& corpus : request.missing_corpora()) {
    if (std::ssize(call.missing_corpora) == Missing::kNamedMax) {
      call.missing_more = true;
      break;
    }
    call.missing_corpora.push_back(corpus.fingerprint());
  }
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

namespace {

// What the trial computes.
void SetComputation(const TrialOrder& order, v1::Assignment* out) {
  for (const auto& [key, value] : order.params) {
    v1::Param* param = out->mutable_variant()->add_params();
    param->set_key(key);
    SetValue(value, param->mutable_value());
  }
  out->set_seed(order.seed);
  out->set_data_fingerprint(order.fingerprint);
  if (!order.init_from) return;
  SetArtifact(*order.init_from, out->mutable_init_from());
  out->mutable_init_derive()->Assign(order.init_derive.begin(), order.init_derive.end());
  out->set_init_reset_state(order.init_reset_state);
  out->set_init_trial(order.parent);
  if (order.parent_order != nullptr) SetComputation(*order.parent_order, out->mutable_parent());
}

}  // namespace

void ToProto(const SyncAnswer& answer, v1::SyncResponse* response) {
  for (const AssignedTrial& a : answer.assignments) {
    v1::Assignment* out = response->add_assignments();
    SetRef(a.attempt, out->mutable_ref());
    SetComputation(a.order, out);
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
  response->set_leave(answer.leave);
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
  out.set_roadmap_paused(status.control.paused.has_value());
  out.set_roadmap_paused_reason(status.control.paused.value_or(""));
  out.set_priority(status.control.priority);
  out.set_waiting(counts.held);
  out.set_archived(status.archived);
  out.set_without_corpus(status.without_corpus);
  out.set_missing_corpora(status.missing_corpora);
  return out;
}

ControlCall FromProto(const v1::ControlRequest& request) {
  return {.roadmap = request.roadmap(),
          .trials = {request.trial_ids().begin(), request.trial_ids().end()},
          .reason = request.reason(),
          .variants = {request.variants().begin(), request.variants().end()},
          .blocks = {request.blocks().begin(), request.blocks().end()}};
}

absl::StatusOr<RetryCall> FromProto(const v1::RetryRequest& request) {
  RetryCall call{.what = FromProto(request.what())};
  for (const int value : request.classes()) {
    const std::optional<FailureClass> failure = FromProto(static_cast<v1::FailureClass>(value));
    if (!failure) {
      return absl::InvalidArgumentError(absl::StrCat("want a failure class, got ", value));
    }
    call.classes.push_back(*failure);
  }
  if (request.memory_bytes() < 0 || FromProto(request.trial_time()) < absl::ZeroDuration()) {
    return absl::InvalidArgumentError("limits: want none below zero");
  }
  if (request.memory_bytes() > 0) call.memory_bytes = request.memory_bytes();
  if (request.has_trial_time()) call.trial_time = FromProto(request.trial_time());
  return call;
}

v1::RetryResponse ToProto(const RetryAnswer& answer) {
  v1::RetryResponse out;
  out.set_trials_changed(answer.changed);
  for (const auto& [failure, count] : answer.failed_as) {
    (*out.mutable_failed_as())[std::string(FailureClassName(failure))] = count;
  }
  return out;
}

v1::ListWorkersResponse ToProto(const FleetView& fleet) {
  v1::ListWorkersResponse out;
  for (const FleetView::Worker& worker : fleet.workers) {
    v1::WorkerStatus* w = out.add_workers();
    w->set_id(worker.id.value);
    w->set_name(worker.info.name);
    w->set_hostname(worker.info.hostname);
    w->set_pid(worker.info.pid);
    w->set_slots(worker.info.slots);
    w->set_build(worker.info.build);
    w->set_leased(static_cast<int>(worker.now.held.size()));
    for (const std::string& corpus : worker.missing_corpora) w->add_missing_corpora(corpus);
    SetDuration(std::max(absl::ZeroDuration(), fleet.time + fleet.lease - worker.now.expires),
                w->mutable_silent());
    if (worker.now.slots == 0) {
      w->set_state(v1::WorkerStatus::EXPECTED);
    } else if (worker.now.drained) {
      w->set_state(v1::WorkerStatus::DRAINING);
      w->set_reason(*worker.now.drained);
    } else if (worker.standing == Standing::kQuarantined) {
      w->set_state(v1::WorkerStatus::QUARANTINED);
      w->set_reason(fleet.nodes.at(worker.info.hostname).reason);
    } else {
      w->set_state(worker.now.held.empty() ? v1::WorkerStatus::IDLE : v1::WorkerStatus::WORKING);
    }
  }
  for (const auto& [host, node] : fleet.nodes) {
    v1::NodeStatus* n = out.add_nodes();
    n->set_hostname(host);
    n->set_standing(std::string(StandingName(node.standing)));
    n->set_reason(node.reason);
    n->set_trials_passed(node.passed);
    n->set_trials_failed(static_cast<int64_t>(node.failed.size()));
    n->set_evidence(node.evidence);
  }
  return out;
}

absl::StatusOr<WorkerControlCall> FromProto(const v1::ControlWorkerRequest& request) {
  using Action = WorkerControlCall::Action;
  WorkerControlCall call{.worker = request.worker(), .reason = request.reason()};
  switch (request.action()) {
    case v1::ControlWorkerRequest::DRAIN:
      call.action = Action::kDrain;
      return call;
    case v1::ControlWorkerRequest::RELEASE:
      call.action = Action::kRelease;
      return call;
    case v1::ControlWorkerRequest::TRUST:
      call.action = Action::kTrust;
      return call;
    default:
      return absl::InvalidArgumentError("action: want DRAIN, RELEASE or TRUST");
  }
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
