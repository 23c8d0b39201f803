#include "coordinator/scheduler/scheduler.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "core/base/check.h"

namespace saffron {
namespace {

// Where the trial stands in the count of a roadmap that wants it, or gave it up.
int64_t* CounterOf(Scheduler::RoadmapCounts& counts, const Scheduler::Trial& trial, bool active) {
  if (const Ended* ended = std::get_if<Ended>(&trial.state)) {
    return &counts.ended[static_cast<int>(ended->outcome)];
  }
  if (!active) return &counts.ended[static_cast<int>(Outcome::kCancelled)];
  return std::holds_alternative<Leased>(trial.state) ? &counts.leased : &counts.queued;
}

bool CountsAsHeld(const Scheduler::Trial& trial, bool active) {
  return active && trial.held && std::holds_alternative<Queued>(trial.state);
}

// Estimated, of the trial and what waits for it.
double TimeToEnd(const Scheduler::Trial& trial) { return trial.cost_seconds + trial.after_seconds; }

WorkOrder OrderOf(TrialId id, const Scheduler::Trial& trial, const Scheduler::Want& want) {
  return {.replicate = want.replicate,
          .not_baseline = !want.baseline,
          .minus_cost = -static_cast<float>(TimeToEnd(trial)),
          .position = want.position,
          .trial = id};
}

}  // namespace

const Scheduler::Want* Scheduler::Trial::FindWant(RoadmapId roadmap) const {
  for (const Want& want : wants) {
    if (want.roadmap == roadmap) return &want;
  }
  return nullptr;
}

std::string_view TrialStateName(const TrialState& state) {
  if (std::holds_alternative<Queued>(state)) return "queued";
  if (std::holds_alternative<Leased>(state)) return "leased";
  return OutcomeName(std::get<Ended>(state).outcome);
}

Scheduler::Scheduler(const Options& options) : options_(options) {}

Scheduler::Scheduler(const Options& options, const Snapshot& snapshot, absl::Time now)
    : options_(options) {
  trials_.reserve(snapshot.trials.size());
  for (const Snapshot::Trial& t : snapshot.trials) {
    Trial& trial = trials_[t.id];
    trial.state = t.state;
    trial.attempts = t.attempts;
    trial.failures = t.failures;
    trial.cost_seconds = t.cost_seconds;
    trial.lost_with = t.lost_with;
    trial.needs = t.needs;
    if (const Leased* leased = std::get_if<Leased>(&t.state)) {
      if (!HasWorker(leased->worker))
        Renew(leased->worker, workers_[leased->worker], now + options_.lease);
    }
  }
  for (const Snapshot::Roadmap& r : snapshot.roadmaps) {
    Roadmap& roadmap = roadmaps_[r.id];
    roadmap.policy = r.policy;
    roadmap.control = {r.priority, r.paused};
    queue_.SetWeight(r.id, r.priority);
    queue_.SetPaused(r.id, r.paused.has_value());
    if (r.policy.deadline != absl::InfiniteFuture()) deadlines_.insert({r.policy.deadline, r.id});
    for (const WantedTrial& w : r.trials) {
      trials_.at(w.trial).wants.push_back({r.id, w.replicate, w.baseline, true, w.position});
      roadmap.trials.insert(roadmap.trials.end(), w.trial);
    }
    for (TrialId given_up : r.given_up) trials_.at(given_up).FindWant(r.id)->active = false;
  }
  for (const Snapshot::Trial& t : snapshot.trials) {
    if (t.parent) SetParent(t.id, *t.parent, /*linked=*/false);
  }
  for (const Snapshot::Trial& t : snapshot.trials) Link(t.id, trials_.at(t.id));
  drained_ = snapshot.drained;
  for (const auto& [host, standing] : snapshot.nodes) {
    nodes_.SetStanding(host, standing.first, standing.second);
  }
}

Effects Scheduler::Apply(const Event& event, absl::Time now) {
  effects_.clear();
  std::visit([&](const auto& e) { On(e, now); }, event);
  return std::move(effects_);
}

absl::Time Scheduler::NextDeadline() const {
  absl::Time next = absl::InfiniteFuture();
  if (!backing_off_.empty()) next = std::min(next, backing_off_.begin()->first);
  if (!expiries_.empty()) next = std::min(next, expiries_.begin()->first);
  if (!doubts_.empty()) next = std::min(next, doubts_.begin()->first);
  if (!deadlines_.empty()) next = std::min(next, deadlines_.begin()->first);
  return next;
}

const Scheduler::RoadmapCounts* Scheduler::Counts(RoadmapId roadmap) const {
  auto it = roadmaps_.find(roadmap);
  return it == roadmaps_.end() ? nullptr : &it->second.counts;
}

const Scheduler::Trial* Scheduler::FindTrial(TrialId trial) const {
  auto it = trials_.find(trial);
  return it == trials_.end() ? nullptr : &it->second;
}

int64_t Scheduler::CountAhead(TrialId id) const {
  const Trial* trial = FindTrial(id);
  if (trial == nullptr) return 0;
  for (const Want& want : trial->wants) {
    if (want.active) return queue_.CountBefore(want.roadmap, OrderOf(id, *trial, want));
  }
  return 0;
}

// ---- Workers

void Scheduler::On(const WorkerJoined& event, absl::Time now) {
  Worker& worker = workers_[event.worker];
  slots_ += event.slots - worker.slots;
  worker.slots = event.slots;
  worker.host = event.host;
  worker.drained = false;
  worker.missing = {};
  if (event.drained) drained_[event.worker] = *event.drained;
  Renew(event.worker, worker, now + options_.lease);
}

void Scheduler::On(const WorkerSynced& event, absl::Time now) {
  CHECK(HasWorker(event.worker)) << "worker " << event.worker.value;
  Renew(event.worker, workers_.at(event.worker), now + options_.lease);
  workers_.at(event.worker).missing = event.missing;
  std::set<TrialId> named;
  std::set<AttemptId> finished;
  for (const AttemptReport& report : event.finished) {
    TakeReport(event.worker, report, now);
    named.insert(report.attempt.trial);
    finished.insert(report.attempt);
  }
  for (AttemptId attempt : event.running) {
    if (finished.count(attempt) > 0) continue;
    TakeRunning(event.worker, attempt);
    named.insert(attempt.trial);
  }
  const bool gets_work = !event.draining && GetsWork(event.worker);
  const int want = RepeatUnseen(event.worker, named, gets_work ? event.want : 0, now);
  Assign(event.worker, want, now);
  Worker& worker = workers_.at(event.worker);
  worker.drained = event.draining && worker.held.empty();
}

void Scheduler::On(const WorkerWaiting& event, absl::Time now) {
  CHECK(HasWorker(event.worker)) << "worker " << event.worker.value;
  Renew(event.worker, workers_.at(event.worker), now + options_.lease);
  Assign(event.worker, event.want, now);
}

bool Scheduler::HasReadyFor(WorkerId worker) const {
  return GetsWork(worker) && queue_.Next(workers_.at(worker).missing).has_value();
}

bool Scheduler::GetsWork(WorkerId id) const {
  auto worker = workers_.find(id);
  return worker != workers_.end() && worker->second.slots > 0 && drained_.count(id) == 0 &&
         nodes_.StandingOf(worker->second.host) != Standing::kQuarantined;
}

void Scheduler::TakeReport(WorkerId worker, const AttemptReport& report, absl::Time now) {
  const auto acknowledge = [&](bool accepted) {
    effects_.push_back(ReportAcknowledged{report.attempt, worker, accepted});
  };
  const Trial* trial = FindTrial(report.attempt.trial);
  const int32_t number = report.attempt.number;
  if (trial == nullptr || number < 1 || number > trial->attempts) return acknowledge(false);
  if (const Ended* ended = std::get_if<Ended>(&trial->state)) {
    // A trial that was given up for lack of a result takes the first one that turns up after all.
    if (ended->outcome != Outcome::kFailed || !IsResult(report.outcome)) return acknowledge(false);
  }
  if (IsResult(report.outcome)) {
    AcceptResult(worker, report, now);
    return acknowledge(true);
  }
  const Leased* leased = std::get_if<Leased>(&trial->state);
  if (leased == nullptr || leased->worker != worker || number != trial->attempts) {
    return acknowledge(false);
  }
  if (report.no_corpus) {
    HandBack(report.attempt, report.message, "its worker could not open its corpus", now);
    return acknowledge(true);
  }
  // A worker that stops a trial on its own hands it back.
  const FailureClass failure =
      report.outcome == Outcome::kCancelled ? FailureClass::kPreempted : report.failure;
  FailAttempt(report.attempt.trial, failure, report.message, false, now);
  acknowledge(true);
}

void Scheduler::AcceptResult(WorkerId worker, const AttemptReport& report, absl::Time now) {
  const TrialId id = report.attempt.trial;
  const Trial& trial = trials_.at(id);
  bool late = true;
  if (const Leased* leased = std::get_if<Leased>(&trial.state)) {
    const AttemptId current{id, trial.attempts};
    late = report.attempt != current;
    if (late) {
      effects_.push_back(AttemptEnded{
          current, Outcome::kCancelled, std::nullopt,
          absl::StrCat("attempt ", report.attempt.number, " delivered its result first")});
    }
    if (late || leased->worker != worker)
      effects_.push_back(AttemptAbandoned{current, leased->worker});
  }
  effects_.push_back(
      AttemptEnded{report.attempt, report.outcome, std::nullopt, report.message, late});
  effects_.push_back(TrialEnded{id, report.outcome, std::nullopt, report.message});
  Alter(id, [&](Trial& t) { t.state = Ended{report.outcome}; });
  nodes_.Passed(workers_.at(worker).host, id);
  SettleChildren(id, now);
}

void Scheduler::HandBack(AttemptId attempt, const std::string& message, const std::string& reason,
                         absl::Time now) {
  // Without a class of failure it burns no budget.
  effects_.push_back(AttemptEnded{attempt, Outcome::kCancelled, std::nullopt, message});
  QueueOrCancel(attempt.trial, Queued{}, reason, now);
}

void Scheduler::TakeRunning(WorkerId worker, AttemptId attempt) {
  const Trial* trial = FindTrial(attempt.trial);
  if (trial != nullptr && attempt.number == trial->attempts) {
    const Leased* leased = std::get_if<Leased>(&trial->state);
    if (leased != nullptr && leased->worker == worker) return;
    const Queued* queued = std::get_if<Queued>(&trial->state);
    if (queued != nullptr && queued->lost_by == worker) {
      const FailureClass lost_as = queued->lost_as;
      effects_.push_back(AttemptRecovered{attempt, worker});
      Alter(attempt.trial, [&](Trial& t) {
        auto want =
            std::find_if(t.wants.begin(), t.wants.end(), [](const Want& w) { return w.active; });
        CHECK(want != t.wants.end()) << "trial " << attempt.trial.value << " queued for nobody";
        t.state = Leased{worker, want->roadmap};
        --t.failures[static_cast<int>(lost_as)];
        std::erase(t.lost_with, worker);
      });
      return;
    }
  }
  effects_.push_back(AttemptAbandoned{attempt, worker});
}

int Scheduler::RepeatUnseen(WorkerId worker, const std::set<TrialId>& named, int want,
                            absl::Time now) {
  std::vector<TrialId> unseen;
  const Worker& w = workers_.at(worker);
  std::set_difference(w.held.begin(), w.held.end(), named.begin(), named.end(),
                      std::back_inserter(unseen));
  for (TrialId id : unseen) {
    const Trial& trial = trials_.at(id);
    const AttemptId attempt{id, trial.attempts};
    if (want > 0 && !w.missing.Has(trial.needs)) {
      --want;
      effects_.push_back(AttemptRepeated{attempt, worker, std::get<Leased>(trial.state).roadmap});
      continue;
    }
    HandBack(attempt, "it never reached its worker", "its attempt never reached a worker", now);
  }
  return want;
}

void Scheduler::Assign(WorkerId worker_id, int want, absl::Time now) {
  if (!GetsWork(worker_id)) return;
  Worker& worker = workers_.at(worker_id);
  for (; want > 0; --want) {
    std::optional<WorkQueue::Pick> pick = queue_.Next(worker.missing);
    const bool has_room = static_cast<int>(worker.held.size()) < worker.slots;
    if (has_room && !doubted_.empty()) {
      // A long trial that may have been lost is worth more than a short one that was not begun.
      const double most = pick ? TimeToEnd(trials_.at(pick->trial)) : -1;
      for (WorkerId doubted : std::vector<WorkerId>(doubted_.begin(), doubted_.end())) {
        const std::set<TrialId>& held = workers_.at(doubted).held;
        const bool is_urgent = std::any_of(held.begin(), held.end(), [&](TrialId id) {
          const Trial& trial = trials_.at(id);
          return TimeToEnd(trial) > most && !worker.missing.Has(trial.needs);
        });
        if (is_urgent) LoseWorker(doubted, "its connection broke, and its trials were due", now);
      }
      pick = queue_.Next(worker.missing);
    }
    if (!pick) return;
    const double cost = trials_.at(pick->trial).cost_seconds;
    if (static_cast<int>(worker.held.size()) >= worker.slots) {
      const double most = absl::ToDoubleSeconds(options_.ahead) * worker.slots;
      const int ready = static_cast<int>(queue_.CountStartable(worker.missing));
      if (worker.load_seconds + cost > most || ready <= slots_) return;
    }
    Alter(pick->trial, [&](Trial& t) {
      ++t.attempts;
      t.state = Leased{worker_id, pick->roadmap};
      effects_.push_back(AttemptAssigned{{pick->trial, t.attempts}, worker_id, pick->roadmap});
    });
  }
}

void Scheduler::Renew(WorkerId id, Worker& worker, absl::Time expires) {
  Untime(id, worker);
  worker.doubted = absl::InfiniteFuture();
  worker.expires = expires;
  expiries_.insert({expires, id});
}

void Scheduler::Untime(WorkerId id, const Worker& worker) {
  expiries_.erase({worker.expires, id});
  doubts_.erase({worker.doubted, id});
  doubted_.erase(id);
}

void Scheduler::On(const WorkerUnreachable& event, absl::Time now) {
  auto it = workers_.find(event.worker);
  if (it == workers_.end() || it->second.doubted != absl::InfiniteFuture()) return;
  it->second.doubted = now + options_.grace;
  doubts_.insert({it->second.doubted, event.worker});
}

void Scheduler::GiveUpDoubted(absl::Time now) {
  std::vector<WorkerId> given_up;
  for (WorkerId doubted : doubted_) {
    if (IsAnyIdleFor(workers_.at(doubted).held)) given_up.push_back(doubted);
  }
  for (WorkerId doubted : given_up) {
    LoseWorker(doubted, "its connection broke, and others had nothing else to do", now);
  }
}

bool Scheduler::IsAnyIdleFor(const std::set<TrialId>& trials) const {
  return std::any_of(workers_.begin(), workers_.end(), [&](const auto& w) {
    const auto& [id, worker] = w;
    if (doubted_.count(id) > 0 || !GetsWork(id) ||
        static_cast<int>(worker.held.size()) >= worker.slots || HasReadyFor(id)) {
      return false;
    }
    return trials.empty() || std::any_of(trials.begin(), trials.end(), [&](TrialId trial) {
             return !w.second.missing.Has(trials_.at(trial).needs);
           });
  });
}

void Scheduler::On(const WorkerGone& event, absl::Time now) {
  if (HasWorker(event.worker)) LoseWorker(event.worker, "its worker's process ended", now);
}

void Scheduler::LoseWorker(WorkerId id, const std::string& why, absl::Time now) {
  Worker& worker = workers_.at(id);
  // One that did not come back after the coordinator itself was away may have ended with it: that
  // says nothing against its trials.
  const FailureClass failure =
      worker.slots == 0 ? FailureClass::kPreempted : FailureClass::kWorkerLost;
  const std::vector<TrialId> held(worker.held.begin(), worker.held.end());
  for (TrialId trial : held) FailAttempt(trial, failure, why, true, now);
  effects_.push_back(WorkerLeft{id, worker.drained, why});
  Untime(id, worker);
  slots_ -= worker.slots;
  drained_.erase(id);
  workers_.erase(id);
}

void Scheduler::FailAttempt(TrialId id, FailureClass failure, const std::string& message, bool lost,
                            absl::Time now) {
  const Trial& trial = trials_.at(id);
  const WorkerId worker = std::get<Leased>(trial.state).worker;
  const AttemptId attempt{id, trial.attempts};
  effects_.push_back(AttemptEnded{attempt, Outcome::kFailed, failure, message});
  const int failures = trial.failures[static_cast<int>(failure)] + 1;
  const int64_t budget = BudgetsOf(trial).Of(failure);
  Alter(id, [&](Trial& t) { t.failures[static_cast<int>(failure)] = failures; });
  const bool poison = failure == FailureClass::kWorkerLost && IsPoison(id, worker);
  if ((poison || (budget >= 0 && failures > budget)) && IsWanted(trial, now)) {
    std::string why = message;
    if (poison) {
      why =
          absl::StrCat("quarantined: ", trial.lost_with.size(),
                       " different workers were lost while they had it (the last: ", message, ")");
    }
    effects_.push_back(TrialEnded{id, Outcome::kFailed, failure, why});
    Alter(id, [&](Trial& t) { t.state = Ended{Outcome::kFailed}; });
    SettleChildren(id, now);
    return BlameNode(worker, failure, id, now);
  }
  Queued queued;
  const absl::Duration backoff = Backoff(failure, failures);
  if (backoff > absl::ZeroDuration()) queued.ready_at = now + backoff;
  if (lost) {
    queued.lost_by = worker;
    queued.lost_as = failure;
  }
  QueueOrCancel(id, queued,
                absl::StrCat("attempt ", attempt.number, " failed (",
                             std::string(FailureClassName(failure)), ")"),
                now);
  BlameNode(worker, failure, id, now);
}

bool Scheduler::IsPoison(TrialId id, WorkerId worker) {
  Trial& trial = trials_.at(id);
  if (std::find(trial.lost_with.begin(), trial.lost_with.end(), worker) == trial.lost_with.end()) {
    trial.lost_with.push_back(worker);
  }
  const int limit = PoisonLimitOf(trial);
  return limit > 0 && static_cast<int>(trial.lost_with.size()) >= limit;
}

void Scheduler::BlameNode(WorkerId worker, FailureClass failure, TrialId id, absl::Time now) {
  if (failure == FailureClass::kPreempted || failure == FailureClass::kWorkerLost) return;
  const std::string host = workers_.at(worker).host;
  std::string evidence;
  const bool is_bad = nodes_.Failed(host, id, &evidence);
  // It had the trial already when it was quarantined.
  if (nodes_.StandingOf(host) == Standing::kQuarantined) return RetryElsewhere(host, now);
  if (!is_bad) return;
  // A bad machine is better than none.
  const bool others = std::any_of(workers_.begin(), workers_.end(), [&](const auto& w) {
    return w.second.host != host && GetsWork(w.first);
  });
  if (!others) return;
  SetStanding(host, Standing::kQuarantined, evidence);
  RetryElsewhere(host, now);
}

void Scheduler::RetryElsewhere(const std::string& host, absl::Time now) {
  for (TrialId id : nodes_.FailedOnlyOn(host)) {
    const Trial& trial = trials_.at(id);
    const Ended* ended = std::get_if<Ended>(&trial.state);
    if (ended == nullptr || ended->outcome != Outcome::kFailed || !IsWanted(trial, now)) continue;
    // What ends its workers is to blame itself.
    if (trial.failures[static_cast<int>(FailureClass::kWorkerLost)] > 0) continue;
    QueueAfresh(id, absl::StrCat("it failed only on ", host, ", which is quarantined"), now);
  }
}

void Scheduler::SetStanding(const std::string& host, Standing standing, const std::string& reason) {
  nodes_.SetStanding(host, standing, reason);
  effects_.push_back(StandingChanged{host, standing, reason});
}

void Scheduler::QueueOrCancel(TrialId id, Queued state, const std::string& reason, absl::Time now) {
  if (!IsWanted(trials_.at(id), now)) {
    effects_.push_back(TrialEnded{id, Outcome::kCancelled, std::nullopt,
                                  absl::StrCat(reason, ", and no roadmap wants another attempt")});
    Alter(id, [](Trial& t) { t.state = Ended{Outcome::kCancelled}; });
    return SettleChildren(id, now);
  }
  effects_.push_back(TrialQueued{id, state.ready_at, reason});
  Alter(id, [&](Trial& t) { t.state = state; });
}

absl::Duration Scheduler::Backoff(FailureClass failure, int failures) const {
  if (failure == FailureClass::kPreempted) return absl::ZeroDuration();
  const int doublings = std::min(failures - 1, 30);
  return std::min(options_.backoff * std::ldexp(1.0, doublings), options_.backoff_max);
}

// ---- Time

void Scheduler::On(const Tick& event, absl::Time now) {
  while (!expiries_.empty() && expiries_.begin()->first <= now) {
    LoseWorker(expiries_.begin()->second,
               absl::StrCat("its worker was silent for ", absl::FormatDuration(options_.lease)),
               now);
  }
  while (!doubts_.empty() && doubts_.begin()->first <= now) {
    doubted_.insert(doubts_.begin()->second);
    doubts_.erase(doubts_.begin());
  }
  GiveUpDoubted(now);
  while (!backing_off_.empty() && backing_off_.begin()->first <= now) {
    Alter(backing_off_.begin()->second,
          [](Trial& t) { std::get<Queued>(t.state).ready_at = absl::InfinitePast(); });
  }
  while (!deadlines_.empty() && deadlines_.begin()->first <= now) {
    const RoadmapId roadmap = deadlines_.begin()->second;
    deadlines_.erase(deadlines_.begin());
    StrikeDeadline(roadmap, now);
  }
}

void Scheduler::On(const Stalled& event, absl::Time now) {
  for (auto& [id, worker] : workers_) Renew(id, worker, now + options_.lease);
}

// ---- Bookkeeping

void Scheduler::Link(TrialId id, Trial& trial) {
  for (const Want& want : trial.wants) {
    RoadmapCounts& counts = roadmaps_.at(want.roadmap).counts;
    ++counts.total;
    ++*CounterOf(counts, trial, want.active);
    counts.cost_total += trial.cost_seconds;
    if (CountsAsHeld(trial, want.active)) ++counts.held;
    if (std::holds_alternative<Ended>(trial.state)) counts.cost_done += trial.cost_seconds;
  }
  if (const Queued* queued = std::get_if<Queued>(&trial.state)) {
    if (queued->ready_at != absl::InfinitePast()) {
      backing_off_.insert({queued->ready_at, id});
      return;
    }
    if (trial.held) return;
    for (const Want& want : trial.wants) {
      if (want.active) queue_.Add(want.roadmap, trial.needs, OrderOf(id, trial, want));
    }
  } else if (const Leased* leased = std::get_if<Leased>(&trial.state)) {
    Worker& worker = workers_.at(leased->worker);
    worker.held.insert(id);
    worker.load_seconds += trial.cost_seconds;
    ChargeTurn(leased->roadmap, +1);
  }
}

void Scheduler::Unlink(TrialId id, Trial& trial) {
  for (const Want& want : trial.wants) {
    RoadmapCounts& counts = roadmaps_.at(want.roadmap).counts;
    --counts.total;
    --*CounterOf(counts, trial, want.active);
    counts.cost_total -= trial.cost_seconds;
    if (CountsAsHeld(trial, want.active)) --counts.held;
    if (std::holds_alternative<Ended>(trial.state)) counts.cost_done -= trial.cost_seconds;
  }
  if (const Queued* queued = std::get_if<Queued>(&trial.state)) {
    if (queued->ready_at != absl::InfinitePast()) {
      backing_off_.erase({queued->ready_at, id});
      return;
    }
    if (trial.held) return;
    for (const Want& want : trial.wants) {
      if (want.active) queue_.Remove(want.roadmap, trial.needs, OrderOf(id, trial, want));
    }
  } else if (const Leased* leased = std::get_if<Leased>(&trial.state)) {
    Worker& worker = workers_.at(leased->worker);
    worker.held.erase(id);
    worker.load_seconds = worker.held.empty() ? 0 : worker.load_seconds - trial.cost_seconds;
    ChargeTurn(leased->roadmap, -1);
  }
}

void Scheduler::ChargeTurn(RoadmapId id, int delta) {
  // A lease found at a restart may belong to a roadmap that has since dropped the trial.
  auto roadmap = roadmaps_.find(id);
  if (roadmap == roadmaps_.end()) return;
  roadmap->second.leased_in_turn += delta;
  queue_.SetLeased(id, roadmap->second.leased_in_turn);
}

bool Scheduler::IsWanted(const Trial& trial, absl::Time now) const {
  return std::any_of(trial.wants.begin(), trial.wants.end(), [&](const Want& want) {
    return want.active && now < roadmaps_.at(want.roadmap).policy.deadline;
  });
}

RetryBudgets Scheduler::BudgetsOf(const Trial& trial) const {
  RetryBudgets budgets;
  budgets.max.fill(0);
  for (const Want& want : trial.wants) {
    const RetryBudgets& theirs = roadmaps_.at(want.roadmap).policy.retry;
    for (int i = 0; i < kFailureClasses; ++i) {
      if (budgets.max[i] < 0) continue;
      budgets.max[i] = theirs.max[i] < 0 ? -1 : std::max(budgets.max[i], theirs.max[i]);
    }
  }
  return budgets;
}

int Scheduler::PoisonLimitOf(const Trial& trial) const {
  int limit = 1;
  for (const Want& want : trial.wants) {
    const int theirs = roadmaps_.at(want.roadmap).policy.poison;
    if (theirs == 0) return 0;
    limit = std::max(limit, theirs);
  }
  return limit;
}

}  // namespace saffron
