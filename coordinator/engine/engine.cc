#include "coordinator/engine/engine.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/base/status_macros.h"

namespace saffron {
namespace {

constexpr double kPriorityMin = 0.001, kPriorityMax = 1000;

}  // namespace

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
  ASSIGN_OR_RETURN(with_state_, store_->TrialsWithState());
  return absl::OkStatus();
}

// ---- The inbox

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

void Engine::Artifact(ArtifactCall call, Done<ArtifactAnswer> done) {
  Post(done, false, [this, call = std::move(call), done] { return DoArtifact(call, done); });
}

void Engine::Retry(RetryCall call, Done<RetryAnswer> done) {
  Post(done, false, [this, call = std::move(call), done] { return DoRetry(call, done); });
}

void Engine::Pause(std::string roadmap, std::optional<std::string> reason, Done<bool> done) {
  Post(done, false, [this, roadmap = std::move(roadmap), reason = std::move(reason), done] {
    return DoRoadmapEvent(roadmap, done, [&](RoadmapId id) -> Event {
      return PauseRequested{id, reason};
    });
  });
}

void Engine::SetPriority(std::string roadmap, double priority, Done<bool> done) {
  if (!(priority >= kPriorityMin && priority <= kPriorityMax)) {
    return done(absl::InvalidArgumentError(absl::StrCat(
        "priority: want a number in [", kPriorityMin, ", ", kPriorityMax, "], got ", priority)));
  }
  Post(done, false, [this, roadmap = std::move(roadmap), priority, done] {
    return DoRoadmapEvent(roadmap, done, [&](RoadmapId id) -> Event {
      return PriorityRequested{id, priority};
    });
  });
}

void Engine::ListWorkers(Done<FleetView> done) {
  Post(done, true, [this, done] { return DoListWorkers(done); });
}

void Engine::ControlWorker(WorkerControlCall call, Done<WorkerControlAnswer> done) {
  Post(done, false, [this, call = std::move(call), done] { return DoControlWorker(call, done); });
}

void Engine::Metrics(Done<MetricsView> done) {
  Post(done, true, [this, done] { return DoMetrics(done); });
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
  hungry_.clear();
  for (auto& [id, held] : std::exchange(held_, {})) held.done(status);
}

// ---- Batches

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
  if (status.ok() && in_transaction_) {
    status = store_->Commit();
    ++counters_.commits;
  }
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
  ++counters_.failed_commits;
  const bool disk = absl::IsResourceExhausted(status) || absl::IsUnavailable(status);
  const absl::Status retry = absl::UnavailableError(absl::StrCat(
      "the coordinator could not record it; try again (", std::string(status.message()), ")"));
  // What was answered, or held open, is told; then the failing call; then those not yet looked at.
  SendAnswers(retry);
  held_until_.clear();
  hungry_.clear();
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
  counters_.calls += static_cast<int64_t>(answers_.size());
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
  RETURN_IF_ERROR(ForgetStates(effects));
  Count(effects);
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
    } else if (const auto* drain = std::get_if<DrainChanged>(&effect)) {
      // A worker that waits for work with nothing in hand need not wait to leave.
      auto name = names_.find(drain->worker);
      if (name == names_.end() || !scheduler_.MayLeave(drain->worker)) continue;
      Release(sessions_.at(name->second).held, SyncAnswer{.leave = true});
    }
  }
  return effects;
}

}  // namespace saffron
