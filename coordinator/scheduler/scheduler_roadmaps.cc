// What people do to roadmaps: naming trials, cancelling and resuming them, deadlines.

#include <utility>

#include "coordinator/scheduler/scheduler.h"

namespace saffron {
namespace {

bool EndedWithoutResult(const TrialState& state) {
  const Ended* ended = std::get_if<Ended>(&state);
  return ended != nullptr && !IsResult(ended->outcome);
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
  for (const WantedTrial& wanted : event.trials) Name(event.roadmap, wanted);
  for (TrialId trial : before) {
    if (roadmap.trials.count(trial) == 0) Unname(event.roadmap, trial);
  }
}

void Scheduler::Name(RoadmapId roadmap, const WantedTrial& wanted) {
  const Want want{roadmap, wanted.replicate, wanted.baseline, true, wanted.position};
  auto [it, is_new] = trials_.try_emplace(wanted.trial);
  if (is_new) {
    it->second.cost_seconds = wanted.cost_seconds;
    it->second.wants.push_back(want);
    Link(wanted.trial, it->second);
    effects_.push_back(TrialQueued{.trial = wanted.trial,
                                   .ready_at = absl::InfinitePast(),
                                   .reason = "submitted",
                                   .is_new = true});
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
    if (!again) return;
    t.state = Queued{};
    t.failures = {};
  });
  if (again) {
    effects_.push_back(TrialQueued{wanted.trial, absl::InfinitePast(), "submitted again", true});
  }
}

void Scheduler::Unname(RoadmapId roadmap, TrialId id) {
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
}

void Scheduler::GiveUp(RoadmapId roadmap, TrialId id, const std::string& reason) {
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
}

void Scheduler::On(const CancelRequested& event, absl::Time now) {
  auto roadmap = roadmaps_.find(event.roadmap);
  if (roadmap == roadmaps_.end()) return;
  const auto cancel = [&](TrialId id) {
    const Trial* trial = FindTrial(id);
    if (trial == nullptr || std::holds_alternative<Ended>(trial->state)) return;
    const Want* want = trial->FindWant(event.roadmap);
    if (want != nullptr && want->active) GiveUp(event.roadmap, id, event.reason);
  };
  if (event.trials) {
    for (TrialId id : *event.trials) cancel(id);
  } else {
    for (TrialId id : roadmap->second.trials) cancel(id);
  }
}

void Scheduler::On(const ResumeRequested& event, absl::Time now) {
  auto roadmap = roadmaps_.find(event.roadmap);
  if (roadmap == roadmaps_.end()) return;
  bool any = false;
  const auto resume = [&](TrialId id) {
    auto it = trials_.find(id);
    if (it == trials_.end()) return;
    const Want* want = it->second.FindWant(event.roadmap);
    if (want == nullptr) return;
    const bool take_up = !want->active;
    const bool again = EndedWithoutResult(it->second.state);
    if (!take_up && !again) return;
    any = true;
    if (take_up) effects_.push_back(WantChanged{event.roadmap, id, true});
    if (again) effects_.push_back(TrialQueued{id, absl::InfinitePast(), event.reason, true});
    Alter(id, [&](Trial& t) {
      t.FindWant(event.roadmap)->active = true;
      if (!again) return;
      t.state = Queued{};
      t.failures = {};
    });
  };
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

void Scheduler::StrikeDeadline(RoadmapId id) {
  for (TrialId trial_id : roadmaps_.at(id).trials) {
    const Trial& trial = trials_.at(trial_id);
    if (std::holds_alternative<Queued>(trial.state) && trial.FindWant(id)->active) {
      GiveUp(id, trial_id, "it had not started when the roadmap's total_time ran out");
    }
  }
}

}  // namespace saffron
