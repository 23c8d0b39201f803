// Trials that start from the checkpoint of another: held until their parent succeeded.

#include "absl/strings/str_cat.h"
#include "coordinator/scheduler/scheduler.h"

namespace saffron {

void Scheduler::SetParent(TrialId id, TrialId parent_id, bool linked) {
  Trial& trial = trials_.at(id);
  const Ended* ended = std::get_if<Ended>(&trials_.at(parent_id).state);
  trial.parent = parent_id;
  trial.held = ended == nullptr || ended->outcome != Outcome::kSucceeded;
  children_[parent_id].insert(id);
  // A chain is as urgent as it is long.
  double chain = trial.cost_seconds + trial.after_seconds;
  for (std::optional<TrialId> up = parent_id; up; up = trials_.at(*up).parent) {
    Trial& ancestor = trials_.at(*up);
    if (ancestor.after_seconds >= chain) return;
    const auto raise = [&](Trial& t) { t.after_seconds = chain; };
    linked ? Alter(*up, raise) : raise(ancestor);
    chain += ancestor.cost_seconds;
  }
}

void Scheduler::SettleChildren(TrialId id, absl::Time now) {
  auto children = children_.find(id);
  if (children == children_.end()) return;
  for (TrialId child : children->second) SettleChild(child, id, now);
}

void Scheduler::SettleChild(TrialId id, TrialId parent_id, absl::Time now) {
  const Trial& parent = trials_.at(parent_id);
  const Trial& trial = trials_.at(id);
  const Ended* parent_ended = std::get_if<Ended>(&parent.state);
  const bool released = parent_ended != nullptr && parent_ended->outcome == Outcome::kSucceeded;
  if (trial.held == released) {
    Alter(id, [&](Trial& t) { t.held = !released; });
  }
  if (parent_ended != nullptr && !released) {
    if (std::holds_alternative<Queued>(trial.state)) Orphan(id, parent_id, now);
    return;
  }
  const Ended* ended = std::get_if<Ended>(&trial.state);
  if (ended == nullptr || !ended->orphaned || !IsWanted(trial, now)) return;
  QueueAfresh(id,
              absl::StrCat("its parent, trial ", parent_id.value,
                           released ? ", has its result after all" : ", is tried again"),
              now);
}

void Scheduler::Orphan(TrialId id, TrialId parent_id, absl::Time now) {
  const Outcome outcome = std::get<Ended>(trials_.at(parent_id).state).outcome;
  const std::string reason =
      absl::StrCat("its parent, trial ", parent_id.value,
                   outcome == Outcome::kFailed || outcome == Outcome::kDiverged ? ", " : ", was ",
                   std::string(OutcomeName(outcome)));
  effects_.push_back(TrialEnded{id, Outcome::kCancelled, std::nullopt, reason, /*orphaned=*/true});
  Alter(id, [](Trial& t) { t.state = Ended{Outcome::kCancelled, /*orphaned=*/true}; });
  SettleChildren(id, now);
}

}  // namespace saffron
