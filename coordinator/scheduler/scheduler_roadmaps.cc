// What people do: naming trials, cancelling and resuming them, pausing and weighing roadmaps,
// deadlines; draining workers and judging machines.

#include <algorithm>
#include <utility>

#include "coordinator/scheduler/scheduler.h"
#include "core/base/check.h"

namespace saffron {
namespace {

bool EndedWithoutResult(const TrialState& state) {
  const Ended* ended = std::get_if<Ended>(&state);
  return ended != nullptr && !IsResult(ended->outcome);
}

// Those that start from others before what they start from: trials are made after their parents.
template <typename Trials>
std::vector<TrialId> ChildrenFirst(const Trials& trials) {
  std::vector<TrialId> sorted(trials.begin(), trials.end());
  std::sort(sorted.rbegin(), sorted.rend());
  return sorted;
}

}  // namespace

void Scheduler::On(const RoadmapChanged& event, absl::Time now) {
  Roadmap& roadmap = roadmaps_[event.roadmap];
  deadlines_.erase({roadmap.policy.deadline, event.roadmap});
  roadmap.policy = event.policy;
  if (event.policy.deadline != absl::InfiniteFuture()) {
    deadlines_.insert({event.policy.deadline, event.roadmap});
  }
  const std::set<TrialId> before = std::move(roadmap.trials);
  roadmap.trials.clear();
  for (const WantedTrial& wanted : event.trials)
    roadmap.trials.insert(roadmap.trials.end(), wanted.trial);
  for (const WantedTrial& wanted : event.trials) Name(event.roadmap, wanted, now);
  for (TrialId trial : ChildrenFirst(before)) {
    if (roadmap.trials.count(trial) == 0) Unname(event.roadmap, trial, now);
  }
}

void Scheduler::Name(RoadmapId roadmap, const WantedTrial& wanted, absl::Time now) {
  const Want want{roadmap, wanted.replicate, wanted.baseline, true, wanted.position};
  auto [it, is_new] = trials_.try_emplace(wanted.trial);
  if (is_new) {
    it->second.cost_seconds = wanted.cost_seconds;
    it->second.needs = wanted.needs;
    it->second.wants.push_back(want);
    if (wanted.parent) SetParent(wanted.trial, *wanted.parent, /*linked=*/true);
    Link(wanted.trial, it->second);
    effects_.push_back(TrialQueued{.trial = wanted.trial,
                                   .ready_at = absl::InfinitePast(),
                                   .reason = "submitted",
                                   .is_new = true});
    if (wanted.parent) SettleChild(wanted.trial, *wanted.parent, now);
    return;
  }
  const bool named_before = it->second.FindWant(roadmap) != nullptr;
  const bool again = !named_before && EndedWithoutResult(it->second.state);
  Alter(wanted.trial, [&](Trial& t) {
    if (Want* old = t.FindWant(roadmap)) {
      const bool active = old->active;
      *old = want;
      old->active = active;
    } else {
      t.wants.push_back(want);
    }
  });
  if (!again) return;
  QueueAfresh(wanted.trial, "submitted again", now);
  if (wanted.parent) SettleChild(wanted.trial, *wanted.parent, now);
}

void Scheduler::Unname(RoadmapId roadmap, TrialId id, absl::Time now) {
  Alter(id, [&](Trial& t) {
    t.wants.erase(t.FindWant(roadmap));
    // A queued trial that nobody wants is cancelled here and now, so that it is in no queue
    // between.
    if (std::holds_alternative<Queued>(t.state) && !IsWanted(t, absl::InfinitePast())) {
      t.state = Ended{Outcome::kCancelled};
      effects_.push_back(TrialEnded{id, Outcome::kCancelled, std::nullopt,
                                    "the roadmap's new revision no longer names it"});
    }
  });
  SettleChildren(id, now);
}

void Scheduler::GiveUp(RoadmapId roadmap, TrialId id, const std::string& reason, absl::Time now) {
  Alter(id, [&](Trial& t) {
    t.FindWant(roadmap)->active = false;
    effects_.push_back(WantChanged{roadmap, id, false});
    if (IsWanted(t, absl::InfinitePast())) return;
    if (const Leased* leased = std::get_if<Leased>(&t.state)) {
      const AttemptId attempt{id, t.attempts};
      effects_.push_back(AttemptEnded{attempt, Outcome::kCancelled, std::nullopt, reason});
      effects_.push_back(AttemptAbandoned{attempt, leased->worker});
    }
    effects_.push_back(TrialEnded{id, Outcome::kCancelled, std::nullopt, reason});
    t.state = Ended{Outcome::kCancelled};
  });
  SettleChildren(id, now);
}

void Scheduler::On(const CancelRequested& event, absl::Time now) {
  auto roadmap = roadmaps_.find(event.roadmap);
  if (roadmap == roadmaps_.end()) return;
  const auto cancel = [&](TrialId id) {
    const Trial* trial = FindTrial(id);
    if (trial == nullptr || std::holds_alternative<Ended>(trial->state)) return;
    const Want* want = trial->FindWant(event.roadmap);
    if (want != nullptr && want->active) GiveUp(event.roadmap, id, event.reason, now);
  };
  for (TrialId id :
       event.trials ? ChildrenFirst(*event.trials) : ChildrenFirst(roadmap->second.trials)) {
    cancel(id);
  }
}

void Scheduler::On(const ResumeRequested& event, absl::Time now) {
  auto roadmap = roadmaps_.find(event.roadmap);
  if (roadmap == roadmaps_.end()) return;
  bool any = false;
  const auto resume = [&](TrialId id) { any |= TakeUp(event.roadmap, id, event.reason, now); };
  if (event.trials) {
    for (TrialId id : *event.trials) resume(id);
  } else {
    for (TrialId id : roadmap->second.trials) resume(id);
  }
  absl::Time& deadline = roadmap->second.policy.deadline;
  if (any && deadline != absl::InfiniteFuture()) {
    deadlines_.erase({deadline, event.roadmap});
    deadline = absl::InfiniteFuture();
    effects_.push_back(DeadlineLifted{event.roadmap});
  }
}

void Scheduler::QueueAfresh(TrialId id, const std::string& reason, absl::Time now) {
  effects_.push_back(TrialQueued{id, absl::InfinitePast(), reason, true});
  Alter(id, [&](Trial& t) {
    t.state = Queued{};
    t.failures = {};
    t.lost_with.clear();
  });
  SettleChildren(id, now);
}

bool Scheduler::TakeUp(RoadmapId roadmap, TrialId id, const std::string& reason, absl::Time now) {
  auto it = trials_.find(id);
  if (it == trials_.end() || it->second.FindWant(roadmap) == nullptr) return false;
  const Trial& trial = it->second;
  bool changed = trial.parent && TakeUp(roadmap, *trial.parent, reason, now);
  if (!trial.FindWant(roadmap)->active) {
    effects_.push_back(WantChanged{roadmap, id, true});
    Alter(id, [&](Trial& t) { t.FindWant(roadmap)->active = true; });
    changed = true;
  }
  if (!EndedWithoutResult(trial.state)) return changed;
  // A parent that diverged did so for good.
  const Ended* parent =
      trial.parent ? std::get_if<Ended>(&trials_.at(*trial.parent).state) : nullptr;
  if (parent != nullptr && parent->outcome != Outcome::kSucceeded) return changed;
  QueueAfresh(id, reason, now);
  return true;
}

void Scheduler::On(const PauseRequested& event, absl::Time now) {
  auto roadmap = roadmaps_.find(event.roadmap);
  if (roadmap == roadmaps_.end() || roadmap->second.control.paused == event.reason) return;
  roadmap->second.control.paused = event.reason;
  queue_.SetPaused(event.roadmap, event.reason.has_value());
  effects_.push_back(PauseChanged{event.roadmap, event.reason});
}

void Scheduler::On(const PriorityRequested& event, absl::Time now) {
  auto roadmap = roadmaps_.find(event.roadmap);
  if (roadmap == roadmaps_.end() || roadmap->second.control.priority == event.priority) return;
  roadmap->second.control.priority = event.priority;
  queue_.SetWeight(event.roadmap, event.priority);
  effects_.push_back(PriorityChanged{event.roadmap, event.priority});
}

void Scheduler::On(const DrainRequested& event, absl::Time now) {
  CHECK(HasWorker(event.worker)) << "worker " << event.worker.value;
  auto drained = drained_.find(event.worker);
  if ((drained != drained_.end()) == event.reason.has_value()) return;
  if (event.reason) {
    drained_[event.worker] = *event.reason;
  } else {
    drained_.erase(drained);
  }
  effects_.push_back(DrainChanged{event.worker, event.reason});
}

void Scheduler::On(const StandingRequested& event, absl::Time now) {
  if (nodes_.StandingOf(event.host) == event.standing && event.standing != Standing::kNormal) {
    return;
  }
  SetStanding(event.host, event.standing, event.reason);
  if (event.standing == Standing::kQuarantined) RetryElsewhere(event.host, now);
}

void Scheduler::StrikeDeadline(RoadmapId id, absl::Time now) {
  for (TrialId trial_id : ChildrenFirst(roadmaps_.at(id).trials)) {
    const Trial& trial = trials_.at(trial_id);
    if (std::holds_alternative<Queued>(trial.state) && trial.FindWant(id)->active) {
      GiveUp(id, trial_id, "it had not started when the roadmap's total_time ran out", now);
    }
  }
}

}  // namespace saffron
