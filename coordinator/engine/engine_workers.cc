// The engine's calls from workers: who they are, what they did, what they should do.

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "coordinator/engine/engine.h"
#include "core/base/status_macros.h"

namespace saffron {
namespace {

// Of one worker: more than any machine has, and few enough that all add up.
constexpr int kSlotsMax = 65'536;

}  // namespace

absl::Status Engine::ReviewWorkers() {
  for (const auto& [id, info] : std::exchange(to_review_, {})) {
    if (!scheduler_.HasWorker(id)) {
      RETURN_IF_ERROR(BeginOnce());
      RETURN_IF_ERROR(store_->Record({WorkerLeft{id, /*drained=*/true}}, now_));
    } else if (options_.is_gone && options_.is_gone(info)) {
      RETURN_IF_ERROR(Apply(WorkerGone{id}).status());
    }
  }
  return absl::OkStatus();
}

absl::Status Engine::DoForget(CallId id) {
  auto held = held_.find(id);
  if (held == held_.end()) return absl::OkStatus();
  const WorkerId worker = held->second.worker;
  Release(id, absl::CancelledError("the worker gave the call up"));
  auto name = names_.find(worker);
  if (name == names_.end()) return absl::OkStatus();
  if (options_.is_gone && options_.is_gone(sessions_.at(name->second).info)) {
    return Apply(WorkerGone{worker}).status();
  }
  return Apply(WorkerUnreachable{worker}).status();
}

absl::Status Engine::DoRegister(const RegisterCall& call, const Done<RegisterAnswer>& done) {
  const auto refuse = [&](absl::Status status) {
    Reply<RegisterAnswer>(done, status);
    return absl::OkStatus();
  };
  if (call.worker.name.empty() || call.worker.slots < 1 || call.worker.slots > kSlotsMax) {
    return refuse(absl::InvalidArgumentError(
        absl::StrCat("a worker has a name and 1 to ", kSlotsMax, " slots, got ", call.worker.slots,
                     " for '", call.worker.name, "'")));
  }
  if (call.numerics != options_.numerics) {
    return refuse(absl::FailedPreconditionError(
        absl::StrCat("the worker computes by numerics version ", call.numerics,
                     ", this coordinator records version ", options_.numerics,
                     ": results would not be comparable. Upgrade the ",
                     call.numerics < options_.numerics ? "worker" : "coordinator")));
  }
  RETURN_IF_ERROR(BeginOnce());
  ASSIGN_OR_RETURN(const WorkerId worker, store_->RecordWorker(call.worker, now_));
  Session& session = sessions_[call.worker.name];
  if (session.held != 0) Release(session.held, SyncAnswer{});
  session = {.worker = worker, .info = call.worker};
  names_[worker] = call.worker.name;
  WorkerJoined joined{worker, call.worker.slots, call.worker.hostname};
  ASSIGN_OR_RETURN(joined.drained, store_->WhyDrained(worker));
  RETURN_IF_ERROR(Apply(joined).status());
  Reply<RegisterAnswer>(done, RegisterAnswer{options_.scheduler.lease, store_->coordinator_id()});
  return absl::OkStatus();
}

absl::Status Engine::DoSync(CallId id, const SyncCall& call, const Done<SyncAnswer>& done) {
  auto it = sessions_.find(call.worker);
  if (it == sessions_.end()) {
    Reply<SyncAnswer>(done, absl::NotFoundError("unknown worker: register (again)"));
    return absl::OkStatus();
  }
  Session& session = it->second;
  if (call.sequence > 0 && call.sequence <= session.last_sequence) {
    Reply<SyncAnswer>(done, absl::AbortedError("a newer call of this worker was answered already"));
    return absl::OkStatus();
  }
  session.last_sequence = std::max(session.last_sequence, call.sequence);
  if (session.held != 0) Release(session.held, SyncAnswer{});

  WorkerSynced event{
      .worker = session.worker, .want = std::max(call.want, 0), .draining = call.draining};
  for (const AttemptProgress& p : call.running) event.running.push_back(p.attempt);
  for (const AttemptResult& r : call.finished) event.finished.push_back(r.report);
  event.missing.more = call.missing_more;
  event.missing.bf16 = call.no_bf16;
  for (const std::string& fingerprint : call.missing_corpora) {
    ASSIGN_OR_RETURN(const std::optional<CorpusId> corpus, store_->FindCorpus(fingerprint));
    if (corpus) event.missing.named.insert(*corpus);
  }
  ASSIGN_OR_RETURN(const Effects effects, Apply(event));
  SyncAnswer answer;
  RETURN_IF_ERROR(RecordReports(call, effects, &answer));
  RETURN_IF_ERROR(AddOrders(effects, session.worker, &answer));
  answer.leave = !call.draining && scheduler_.MayLeave(session.worker);
  if (answer.empty() && call.wait > absl::ZeroDuration()) {
    Hold(id, &session, call, done);
    return absl::OkStatus();
  }
  const int unmet = call.draining ? 0 : call.want - static_cast<int>(answer.assignments.size());
  answer.next_sync = NextSync(unmet, call.wait);
  Reply<SyncAnswer>(done, std::move(answer));
  return absl::OkStatus();
}

absl::Duration Engine::NextSync(int want_left, absl::Duration wait) const {
  const absl::Duration third = options_.scheduler.lease / 3;
  if (want_left <= 0) return third;
  // It may call again at once and be held open until there is work.
  return wait > absl::ZeroDuration() ? absl::ZeroDuration() : std::min(third, absl::Seconds(1));
}

absl::Status Engine::RecordReports(const SyncCall& call, const Effects& effects,
                                   SyncAnswer* answer) {
  std::set<AttemptId> accepted;
  for (const Effect& effect : effects) {
    if (const auto* ack = std::get_if<ReportAcknowledged>(&effect)) {
      answer->acknowledged.push_back(ack->attempt);
      if (ack->accepted) accepted.insert(ack->attempt);
    }
  }
  const WorkerId worker = sessions_.at(call.worker).worker;
  for (const AttemptProgress& p : call.running) {
    if (p.values.empty()) continue;
    const Scheduler::Trial* trial = scheduler_.FindTrial(p.attempt.trial);
    const Leased* leased = trial == nullptr ? nullptr : std::get_if<Leased>(&trial->state);
    const bool current =
        leased != nullptr && leased->worker == worker && p.attempt.number == trial->attempts;
    if (!current && accepted.count(p.attempt) == 0) continue;
    RETURN_IF_ERROR(BeginOnce());
    RETURN_IF_ERROR(store_->RecordCurve(p.attempt.trial, p.values));
    answer->durable.push_back(
        {p.attempt, p.first_sequence + static_cast<int64_t>(p.values.size())});
  }
  for (const AttemptResult& result : call.finished) {
    if (accepted.erase(result.report.attempt) == 0) continue;  // also drops a second copy
    const bool is_result = IsResult(result.report.outcome);
    RETURN_IF_ERROR(store_->RecordResult(
        result.report.attempt, is_result ? result.final_metrics : std::vector<MetricValue>(),
        result.started, result.ended));
    RETURN_IF_ERROR(NoteResult(result));
  }
  return absl::OkStatus();
}

absl::Status Engine::AddOrders(const Effects& effects, WorkerId worker, SyncAnswer* answer) {
  const auto add = [&](AttemptId attempt, RoadmapId roadmap, bool is_new) -> absl::Status {
    ASSIGN_OR_RETURN(TrialOrder order, store_->LoadOrder(attempt.trial, roadmap));
    RETURN_IF_ERROR(AddFiles(attempt, is_new, &order));
    answer->assignments.push_back({attempt, std::move(order)});
    return absl::OkStatus();
  };
  for (const Effect& effect : effects) {
    if (const auto* assigned = std::get_if<AttemptAssigned>(&effect)) {
      RETURN_IF_ERROR(add(assigned->attempt, assigned->roadmap, true));
    } else if (const auto* repeated = std::get_if<AttemptRepeated>(&effect)) {
      RETURN_IF_ERROR(add(repeated->attempt, repeated->roadmap, false));
    } else if (const auto* abandoned = std::get_if<AttemptAbandoned>(&effect)) {
      if (abandoned->worker == worker) answer->abandon.push_back(abandoned->attempt);
    }
  }
  return absl::OkStatus();
}

void Engine::Hold(CallId id, Session* session, const SyncCall& call, const Done<SyncAnswer>& done) {
  // No longer than the worker may be silent.
  const absl::Time until = now_ + std::min(call.wait, options_.scheduler.lease / 3);
  session->held = id;
  held_[id] = {session->worker, call.draining ? 0 : std::max(call.want, 0), until, done};
  held_until_.insert({until, id});
  if (held_[id].want > 0) hungry_.insert(id);
}

void Engine::Release(CallId id, absl::StatusOr<SyncAnswer> answer) {
  auto it = held_.find(id);
  if (it == held_.end()) return;
  if (answer.ok() && !answer->assignments.empty()) answer->next_sync = options_.scheduler.lease / 3;
  Reply<SyncAnswer>(it->second.done, std::move(answer));
  auto name = names_.find(it->second.worker);
  if (name != names_.end() && sessions_.at(name->second).held == id)
    sessions_.at(name->second).held = 0;
  held_until_.erase({it->second.until, id});
  hungry_.erase(id);
  held_.erase(it);
}

absl::Status Engine::ServeHeld() {
  for (auto it = hungry_.begin(); it != hungry_.end() && scheduler_.HasReady();) {
    const CallId id = *it++;  // a release erases
    const Held& held = held_.at(id);
    const WorkerId worker = held.worker;
    if (!scheduler_.HasReadyFor(worker)) continue;
    ASSIGN_OR_RETURN(const Effects effects, Apply(WorkerWaiting{worker, held.want}));
    SyncAnswer answer;
    RETURN_IF_ERROR(AddOrders(effects, worker, &answer));
    if (!answer.empty()) Release(id, std::move(answer));
  }
  while (!held_until_.empty() && held_until_.begin()->first <= now_) {
    Release(held_until_.begin()->second, SyncAnswer{});
  }
  return absl::OkStatus();
}

}  // namespace saffron
