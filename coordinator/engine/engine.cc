#include "coordinator/engine/engine.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/base/status_macros.h"
#include "core/model/registry.h"

namespace saffron {

absl::StatusOr<std::unique_ptr<Engine>> Engine::Start(const Options& options, RunStore* store,
                                                      absl::Time now) {
  std::unique_ptr<Engine> engine(new Engine(options, store));
  engine->now_ = now;
  RETURN_IF_ERROR(engine->Load());
  return engine;
}

absl::Status Engine::Load() {
  ASSIGN_OR_RETURN(const Scheduler::Snapshot snapshot, store_->LoadSnapshot());
  ASSIGN_OR_RETURN(const std::vector<RoadmapInfo> roadmaps, store_->LoadRoadmaps());
  scheduler_ = Scheduler(options_.scheduler, snapshot, now_);
  roadmaps_.clear();
  for (const RoadmapInfo& info : roadmaps) roadmaps_[info.id].info = info;
  // Workers introduce themselves again: some may have been recorded by what was rolled back.
  sessions_.clear();
  names_.clear();
  ASSIGN_OR_RETURN(to_review_, store_->LoadWorkers());
  return absl::OkStatus();
}

// ---- The inbox ---------------------------------------------------------------------------------

void Engine::Push(Item item) {
  bool was_empty = false;
  absl::Status refused;
  {
    std::lock_guard<std::mutex> lock(mutex_);
    if (shut_down_) {
      refused = absl::UnavailableError("the coordinator is shutting down");
    } else if (inbox_.size() >= options_.inbox_max) {
      refused = absl::ResourceExhaustedError("the coordinator is busy: call again in a moment");
    } else {
      was_empty = inbox_.empty();
      inbox_.push_back(std::move(item));
    }
  }
  if (!refused.ok()) {
    item.fail(refused);
  } else if (was_empty && waker_) {
    waker_();
  }
}

template <typename Answer>
void Engine::Post(const Done<Answer>& done, bool reads_only, std::function<absl::Status()> apply) {
  Push({std::move(apply), [done](const absl::Status& status) { done(status); }, reads_only});
}

void Engine::Register(RegisterCall call, Done<RegisterAnswer> done) {
  Post(done, false, [this, call = std::move(call), done] { return DoRegister(call, done); });
}

Engine::CallId Engine::Sync(SyncCall call, Done<SyncAnswer> done) {
  CallId id;
  {
    std::lock_guard<std::mutex> lock(mutex_);
    id = ++last_call_;
  }
  Post(done, false, [this, id, call = std::move(call), done] { return DoSync(id, call, done); });
  return id;
}

void Engine::Forget(CallId id) {
  Push({[this, id] { return DoForget(id); }, [](const absl::Status&) {}, false});
}

void Engine::Submit(std::shared_ptr<const Submission> submission, Done<SubmitAnswer> done) {
  Post(done, false,
       [this, submission = std::move(submission), done] { return DoSubmit(*submission, done); });
}

void Engine::Cancel(ControlCall call, Done<int64_t> done) {
  Post(done, false, [this, call = std::move(call), done] { return DoControl(call, false, done); });
}

void Engine::Resume(ControlCall call, Done<int64_t> done) {
  Post(done, false, [this, call = std::move(call), done] { return DoControl(call, true, done); });
}

void Engine::Status(std::string roadmap, Done<RoadmapStatus> done) {
  Post(done, true, [this, roadmap = std::move(roadmap), done] { return DoStatus(roadmap, done); });
}

void Engine::Explain(TrialId trial, Done<Explanation> done) {
  Post(done, true, [this, trial, done] { return DoExplain(trial, done); });
}

void Engine::Shutdown() {
  std::deque<Item> waiting;
  {
    std::lock_guard<std::mutex> lock(mutex_);
    shut_down_ = true;
    waiting.swap(inbox_);
  }
  const absl::Status status = absl::UnavailableError("the coordinator is shutting down");
  for (const Item& item : waiting) item.fail(status);
  held_until_.clear();
  for (auto& [id, held] : std::exchange(held_, {})) held.done(status);
}

// ---- Batches -----------------------------------------------------------------------------------

absl::Time Engine::RunOnce(absl::Time now) {
  now_ = now;
  const std::vector<Item> batch = TakeBatch();
  if (!paused_.empty() && now_ >= retry_at_) {
    // Half open: one small write decides.
    absl::Status status = BeginOnce();
    if (status.ok()) {
      status = store_->RecordEvent(
          "started", std::nullopt, std::nullopt,
          absl::StrCat("writes succeed again; paused for ",
                       absl::FormatDuration(now_ - paused_since_), ": ", paused_),
          now_);
    }
    if (status.ok()) status = store_->Commit();
    in_transaction_ = false;
    if (status.ok()) status = Load();
    if (status.ok()) {
      paused_.clear();
    } else {
      store_->Rollback();
      retry_at_ = now_ + options_.retry_disk;
    }
  }
  paused_.empty() ? RunBatch(batch) : RunPaused(batch);
  store_->EndReading();
  return wake_ = NextWake();
}

std::vector<Engine::Item> Engine::TakeBatch() {
  std::vector<Item> batch;
  std::lock_guard<std::mutex> lock(mutex_);
  const size_t most = isolate_ > 0 ? 1 : options_.batch_max;
  if (isolate_ > 0) --isolate_;
  while (!inbox_.empty() && batch.size() < most) {
    batch.push_back(std::move(inbox_.front()));
    inbox_.pop_front();
  }
  return batch;
}

void Engine::RunBatch(const std::vector<Item>& batch) {
  absl::Status status;
  // Calls that waited while this process could not run speak for their workers before the clock
  // does.
  if (wake_ != absl::InfiniteFuture() && now_ - wake_ > options_.scheduler.lease / 2) {
    status = Apply(Stalled{}).status();
  }
  if (status.ok() && !to_review_.empty()) status = ReviewWorkers();
  size_t next = 0;
  for (; status.ok() && next < batch.size(); ++next) status = batch[next].apply();
  if (!status.ok() && next > 0) --next;  // the one that failed
  if (status.ok() && scheduler_.NextDeadline() <= now_) status = Apply(Tick{}).status();
  if (status.ok()) status = ServeHeld();
  if (status.ok() && in_transaction_) status = store_->Commit();
  if (!status.ok()) return Fail(batch, next, status);
  in_transaction_ = false;
  SendAnswers(absl::OkStatus());
}

absl::Status Engine::BeginOnce() {
  if (in_transaction_) return absl::OkStatus();
  RETURN_IF_ERROR(store_->Begin());
  in_transaction_ = true;
  return absl::OkStatus();
}

void Engine::Fail(const std::vector<Item>& batch, size_t failed, const absl::Status& status) {
  store_->Rollback();
  in_transaction_ = false;
  const bool disk = absl::IsResourceExhausted(status) || absl::IsUnavailable(status);
  const absl::Status retry = absl::UnavailableError(absl::StrCat(
      "the coordinator could not record it; try again (", std::string(status.message()), ")"));
  // What was answered, or held open, is told; then the failing call; then those not yet looked at.
  SendAnswers(retry);
  held_until_.clear();
  for (auto& [id, held] : std::exchange(held_, {})) held.done(retry);
  for (size_t i = failed; i < batch.size(); ++i) {
    batch[i].fail(i == failed && !disk ? status : retry);
  }
  isolate_ = static_cast<int>(options_.batch_max);
  absl::Status reload = Load();
  if (!disk && reload.ok()) return;
  if (paused_.empty()) paused_since_ = now_;
  paused_ = std::string((disk ? status : reload).message());
  retry_at_ = now_ + options_.retry_disk;
}

void Engine::RunPaused(const std::vector<Item>& batch) {
  const absl::Status refused =
      absl::UnavailableError(absl::StrCat("the coordinator is paused: ", paused_));
  for (const Item& item : batch) {
    if (!item.reads_only) {
      item.fail(refused);
    } else if (const absl::Status status = item.apply(); !status.ok()) {
      item.fail(status);
    }
  }
  SendAnswers(absl::OkStatus());
}

void Engine::SendAnswers(const absl::Status& status) {
  for (const auto& answer : std::exchange(answers_, {})) answer(status);
}

absl::Time Engine::NextWake() {
  {
    std::lock_guard<std::mutex> lock(mutex_);
    if (!inbox_.empty()) return now_;
  }
  if (!paused_.empty()) return retry_at_;
  absl::Time next = scheduler_.NextDeadline();
  if (!held_until_.empty()) next = std::min(next, held_until_.begin()->first);
  return next;
}

absl::StatusOr<Effects> Engine::Apply(const Event& event) {
  Effects effects = scheduler_.Apply(event, now_);
  if (effects.empty()) return effects;
  RETURN_IF_ERROR(BeginOnce());
  RETURN_IF_ERROR(store_->Record(effects, now_));
  NoteFailures(effects);
  for (const Effect& effect : effects) {
    if (const auto* left = std::get_if<WorkerLeft>(&effect)) {
      auto name = names_.find(left->worker);
      if (name == names_.end()) continue;
      Release(sessions_.at(name->second).held, absl::NotFoundError("the worker was given up"));
      sessions_.erase(name->second);
      names_.erase(name);
    } else if (const auto* abandoned = std::get_if<AttemptAbandoned>(&effect)) {
      // A worker whose call is held open hears of it now; others when they next name the attempt.
      auto name = names_.find(abandoned->worker);
      if (name == names_.end() || sessions_.at(name->second).held == 0) continue;
      Release(sessions_.at(name->second).held, SyncAnswer{.abandon = {abandoned->attempt}});
    }
  }
  return effects;
}

// ---- Workers -----------------------------------------------------------------------------------

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
  if (name == names_.end() || !options_.is_gone) return absl::OkStatus();
  if (!options_.is_gone(sessions_.at(name->second).info)) return absl::OkStatus();
  return Apply(WorkerGone{worker}).status();
}

absl::Status Engine::DoRegister(const RegisterCall& call, const Done<RegisterAnswer>& done) {
  const auto refuse = [&](absl::Status status) {
    Reply<RegisterAnswer>(done, status);
    return absl::OkStatus();
  };
  if (call.worker.name.empty() || call.worker.slots < 1) {
    return refuse(absl::InvalidArgumentError("a worker has a name and at least one slot"));
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
  RETURN_IF_ERROR(Apply(WorkerJoined{worker, call.worker.slots}).status());
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
  ASSIGN_OR_RETURN(const Effects effects, Apply(event));
  SyncAnswer answer;
  RETURN_IF_ERROR(RecordReports(call, effects, &answer));
  RETURN_IF_ERROR(AddOrders(effects, session.worker, &answer));
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
  const auto add = [&](AttemptId attempt, RoadmapId roadmap) -> absl::Status {
    ASSIGN_OR_RETURN(TrialOrder order, store_->LoadOrder(attempt.trial, roadmap));
    answer->assignments.push_back({attempt, std::move(order)});
    return absl::OkStatus();
  };
  for (const Effect& effect : effects) {
    if (const auto* assigned = std::get_if<AttemptAssigned>(&effect)) {
      RETURN_IF_ERROR(add(assigned->attempt, assigned->roadmap));
    } else if (const auto* repeated = std::get_if<AttemptRepeated>(&effect)) {
      RETURN_IF_ERROR(add(repeated->attempt, repeated->roadmap));
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
  held_.erase(it);
}

absl::Status Engine::ServeHeld() {
  for (auto it = held_.begin(); it != held_.end() && scheduler_.HasReady();) {
    const CallId id = it->first;
    const Held& held = it->second;
    ++it;  // a release erases
    if (held.want == 0) continue;
    const WorkerId worker = held.worker;
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

// ---- Roadmaps ----------------------------------------------------------------------------------

absl::Status Engine::DoSubmit(const Submission& submission, const Done<SubmitAnswer>& done) {
  RETURN_IF_ERROR(BeginOnce());
  SubmitAnswer answer{.name = submission.name};
  ASSIGN_OR_RETURN(answer.plan, store_->Plan(submission));
  ASSIGN_OR_RETURN(StoredRevision stored, store_->RecordSubmission(submission, now_));
  answer.roadmap = stored.roadmap;
  answer.revision = stored.revision;
  if (stored.is_new) {
    RETURN_IF_ERROR(Apply(std::move(stored.change)).status());
    roadmaps_[stored.roadmap] = {.info = {.id = stored.roadmap,
                                          .name = submission.name,
                                          .revision = stored.revision,
                                          .metric = submission.metric,
                                          .maximize = submission.maximize,
                                          .submitted = now_}};
  }
  Reply<SubmitAnswer>(done, std::move(answer));
  return absl::OkStatus();
}

absl::Status Engine::DoControl(const ControlCall& call, bool resume, const Done<int64_t>& done) {
  const absl::StatusOr<RoadmapView*> view = FindRoadmap(call.roadmap);
  absl::Status refused = view.status();
  std::optional<std::vector<TrialId>> trials;
  for (int64_t id : call.trials) {
    if (!trials) trials.emplace();
    trials->push_back(TrialId{id});
    const Scheduler::Trial* trial = scheduler_.FindTrial(TrialId{id});
    const bool named = view.ok() && trial != nullptr &&
                       std::any_of(trial->wants.begin(), trial->wants.end(), [&](const auto& want) {
                         return want.roadmap == (*view)->info.id;
                       });
    if (!named && refused.ok()) {
      refused = absl::NotFoundError(
          absl::StrCat("trial ", id, " is not in roadmap ", (*view)->info.name));
    }
  }
  if (!refused.ok()) {
    Reply<int64_t>(done, refused);
    return absl::OkStatus();
  }
  const RoadmapId roadmap = (*view)->info.id;
  const std::string reason = call.reason.empty() ? (resume ? "resumed" : "cancelled") : call.reason;
  Effects effects;
  if (resume) {
    ASSIGN_OR_RETURN(effects, Apply(ResumeRequested{roadmap, trials, reason}));
  } else {
    ASSIGN_OR_RETURN(effects, Apply(CancelRequested{roadmap, trials, reason}));
  }
  std::set<TrialId> changed;
  for (const Effect& effect : effects) {
    if (const auto* want = std::get_if<WantChanged>(&effect)) changed.insert(want->trial);
    if (const auto* queued = std::get_if<TrialQueued>(&effect)) changed.insert(queued->trial);
  }
  if (!changed.empty()) {
    RETURN_IF_ERROR(store_->RecordEvent(resume ? "resume" : "cancel", roadmap, std::nullopt,
                                        absl::StrCat(reason, ": ", changed.size(), " trials"),
                                        now_));
  }
  Reply<int64_t>(done, static_cast<int64_t>(changed.size()));
  return absl::OkStatus();
}

absl::Status Engine::DoStatus(const std::string& selector, const Done<RoadmapStatus>& done) {
  const absl::StatusOr<RoadmapView*> view = FindRoadmap(selector);
  if (!view.ok()) {
    Reply<RoadmapStatus>(done, view.status());
    return absl::OkStatus();
  }
  RETURN_IF_ERROR(LoadView(*view));
  const Scheduler::RoadmapCounts* counts = scheduler_.Counts((*view)->info.id);
  const Scheduler::Fleet fleet = scheduler_.fleet();
  Reply<RoadmapStatus>(
      done, RoadmapStatus{.roadmap = (*view)->info,
                          .counts = counts == nullptr ? Scheduler::RoadmapCounts{} : *counts,
                          .workers = fleet.workers,
                          .slots = fleet.slots,
                          .best = (*view)->best,
                          .last_failure = (*view)->last_failure,
                          .paused = paused_});
  return absl::OkStatus();
}

absl::StatusOr<Engine::RoadmapView*> Engine::FindRoadmap(const std::string& selector) {
  if (roadmaps_.empty()) {
    return absl::NotFoundError("there is no roadmap yet: submit one with `saffron submit`");
  }
  RoadmapView* found = nullptr;
  std::vector<std::string> names;
  for (auto& [id, view] : roadmaps_) {
    names.push_back(view.info.name);
    if (view.info.name == selector) return &view;
    if (absl::StrCat(id.value) == selector) found = &view;
    if (selector != "last") continue;
    if (found == nullptr || view.info.submitted >= found->info.submitted) found = &view;
  }
  if (found != nullptr) return found;
  const std::string near = NearestName(selector, names);
  return absl::NotFoundError(
      absl::StrCat("there is no roadmap ", selector,
                   near.empty() ? "" : absl::StrCat("; did you mean ", near, "?")));
}

absl::Status Engine::LoadView(RoadmapView* view) {
  if (view->loaded) return absl::OkStatus();
  ASSIGN_OR_RETURN(view->best, store_->FindBest(view->info));
  ASSIGN_OR_RETURN(view->last_failure, store_->LastFailure(view->info));
  view->loaded = true;
  return absl::OkStatus();
}

absl::Status Engine::NoteResult(const AttemptResult& result) {
  if (result.report.outcome != Outcome::kSucceeded) return absl::OkStatus();
  const TrialId id = result.report.attempt.trial;
  for (const Scheduler::Want& want : scheduler_.FindTrial(id)->wants) {
    auto it = roadmaps_.find(want.roadmap);
    if (it == roadmaps_.end() || !it->second.loaded) continue;
    RoadmapView& view = it->second;
    for (const MetricValue& metric : result.final_metrics) {
      if (metric.key != view.info.metric || !std::isfinite(metric.value)) continue;
      const double sign = view.info.maximize ? -1 : 1;
      if (view.best && sign * view.best->value <= sign * metric.value) continue;
      ASSIGN_OR_RETURN(std::optional<std::string> label, store_->ComparableLabel(want.roadmap, id));
      if (label) view.best = RunStore::Best{id, metric.value, *std::move(label)};
    }
  }
  return absl::OkStatus();
}

void Engine::NoteFailures(const Effects& effects) {
  for (const Effect& effect : effects) {
    const auto* ended = std::get_if<TrialEnded>(&effect);
    if (ended == nullptr || ended->outcome != Outcome::kFailed) continue;
    for (const Scheduler::Want& want : scheduler_.FindTrial(ended->trial)->wants) {
      auto it = roadmaps_.find(want.roadmap);
      if (it != roadmaps_.end()) it->second.last_failure = ended->message;
    }
  }
}

}  // namespace saffron
