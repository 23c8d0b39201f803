#include "coordinator/scheduler/invariants.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"

namespace saffron {

// Recomputes every index of a scheduler from its trials alone.
class SchedulerInspector {
 public:
  explicit SchedulerInspector(const Scheduler& scheduler) : s_(scheduler) {}

  std::vector<std::string> Run() {
    for (const auto& [id, roadmap] : s_.roadmaps_) counts_[id];
    for (const auto& [id, trial] : s_.trials_) Visit(id, trial);
    CheckWorkers();
    CheckRoadmaps();
    CheckMachines();
    Require(backing_off_ == s_.backing_off_, "the back-off index differs from the trials");
    return std::move(violations_);
  }

  std::string Describe(absl::Time now) const {
    std::string text;
    std::map<TrialId, const Scheduler::Trial*> trials;
    for (const auto& [id, trial] : s_.trials_) trials[id] = &trial;
    for (const auto& [id, trial] : trials) {
      absl::StrAppend(&text, "t", id.value, " ", trial->state.index(), " ", trial->attempts);
      for (int n : trial->failures) absl::StrAppend(&text, ",", n);
      if (const Queued* queued = std::get_if<Queued>(&trial->state)) {
        absl::StrAppend(&text, "@", absl::FormatDuration(queued->ready_at - now));
        if (queued->lost_by) {
          absl::StrAppend(&text, "?", queued->lost_by->value, ",", int(queued->lost_as));
        }
      } else if (const Leased* leased = std::get_if<Leased>(&trial->state)) {
        absl::StrAppend(&text, ">", leased->worker.value, ",", leased->roadmap.value);
      } else {
        const Ended& ended = std::get<Ended>(trial->state);
        absl::StrAppend(&text, "=", int(ended.outcome), ended.orphaned ? "o" : "");
      }
      if (trial->held) text += "h";
      for (WorkerId worker : trial->lost_with) absl::StrAppend(&text, "x", worker.value);
      std::map<RoadmapId, bool> wants;
      for (const Scheduler::Want& want : trial->wants) wants[want.roadmap] = want.active;
      for (const auto& [roadmap, active] : wants) {
        absl::StrAppend(&text, active ? "+" : "-", roadmap.value);
      }
    }
    for (const auto& [id, worker] : s_.workers_) {
      absl::StrAppend(&text, "w", id.value, " ", worker.slots, worker.drained ? "d" : "",
                      absl::FormatDuration(worker.expires - now), "?",
                      absl::FormatDuration(worker.doubted - now), s_.doubted_.count(id),
                      worker.missing.more ? "m" : "", worker.missing.bf16 ? "b" : "");
      for (CorpusId corpus : worker.missing.named) absl::StrAppend(&text, "m", corpus.value);
    }
    for (const auto& [id, roadmap] : s_.roadmaps_) {
      absl::StrAppend(&text, "r", id.value, absl::FormatDuration(roadmap.policy.deadline - now),
                      roadmap.control.paused ? "p" : "", roadmap.control.priority);
    }
    for (const auto& [id, reason] : s_.drained_) absl::StrAppend(&text, "d", id.value);
    for (const auto& [host, node] : s_.nodes_.nodes()) {
      absl::StrAppend(&text, "n", host, int(node.standing), ",", node.passed);
      for (TrialId trial : node.failed) absl::StrAppend(&text, "f", trial.value);
    }
    return text;
  }

 private:
  // `what` is put together only when it is needed.
  template <typename... Parts>
  void Require(bool holds, const Parts&... what) {
    if (!holds) violations_.push_back(absl::StrCat(what...));
  }

  void Visit(TrialId id, const Scheduler::Trial& trial) {
    bool active = false;
    for (const Scheduler::Want& want : trial.wants) {
      active = active || want.active;
      Require(s_.roadmaps_.at(want.roadmap).trials.count(id) == 1, "trial ", id.value,
              " is wanted by a roadmap that does not list it");
      Count(want, trial);
    }
    if (trial.parent) CheckParent(id, trial);
    int failures = 0;
    for (int n : trial.failures) {
      failures += n;
      Require(n >= 0, "trial ", id.value, " has a negative count of failures");
    }
    Require(failures <= trial.attempts, "trial ", id.value, " failed more often than it was tried");
    if (const Queued* queued = std::get_if<Queued>(&trial.state)) {
      Require(active, "trial ", id.value, " is queued though nobody wants it");
      if (queued->ready_at != absl::InfinitePast()) {
        backing_off_.insert({queued->ready_at, id});
      } else if (!trial.held) {
        for (const Scheduler::Want& want : trial.wants) {
          if (!want.active) continue;
          ++ready_;
          ++ready_by_[want.roadmap][trial.needs];
        }
      }
    } else if (const Leased* leased = std::get_if<Leased>(&trial.state)) {
      Require(trial.attempts >= 1, "trial ", id.value, " is leased without an attempt");
      Require(s_.HasWorker(leased->worker), "trial ", id.value, " is leased to nobody");
      held_[leased->worker].insert(id);
      load_[leased->worker] += trial.cost_seconds;
      ++in_turn_[leased->roadmap];
    }
  }

  void CheckParent(TrialId id, const Scheduler::Trial& trial) {
    const Ended* ended = std::get_if<Ended>(&s_.trials_.at(*trial.parent).state);
    const bool model = ended != nullptr && ended->outcome == Outcome::kSucceeded;
    Require(trial.held == !model, "trial ", id.value, " is held, or not, against its parent");
    Require(model || !std::holds_alternative<Leased>(trial.state), "trial ", id.value,
            " runs before its parent succeeded");
    Require(model || ended == nullptr || std::holds_alternative<Ended>(trial.state), "trial ",
            id.value, " waits for a parent that ended without a model");
  }

  void Count(const Scheduler::Want& want, const Scheduler::Trial& trial) {
    Scheduler::RoadmapCounts& c = counts_[want.roadmap];
    ++c.total;
    c.cost_total += trial.cost_seconds;
    if (const Ended* ended = std::get_if<Ended>(&trial.state)) {
      ++c.ended[static_cast<int>(ended->outcome)];
      c.cost_done += trial.cost_seconds;
    } else if (!want.active) {
      ++c.ended[static_cast<int>(Outcome::kCancelled)];
    } else if (std::holds_alternative<Leased>(trial.state)) {
      ++c.leased;
    } else {
      ++c.queued;
      if (trial.held) ++c.held;
    }
  }

  void CheckWorkers() {
    int slots = 0;
    size_t doubted = 0;
    for (const auto& [id, worker] : s_.workers_) {
      slots += worker.slots;
      Require(held_[id] == worker.held, "worker ", id.value,
              " holds other trials than are leased to it");
      Require(std::abs(load_[id] - worker.load_seconds) < 1e-6 * (1 + load_[id]), "worker ",
              id.value, " has another load than its trials");
      Require(s_.expiries_.count({worker.expires, id}) == 1, "worker ", id.value,
              "'s lease is not timed");
      const size_t doubts = s_.doubts_.count({worker.doubted, id}) + s_.doubted_.count(id);
      doubted += doubts;
      Require(doubts == (worker.doubted != absl::InfiniteFuture()), "worker ", id.value,
              " is doubted without a reason, or not for one");
    }
    Require(s_.expiries_.size() == s_.workers_.size(), "a lease is timed for a forgotten worker");
    Require(doubted == s_.doubts_.size() + s_.doubted_.size(), "a forgotten worker is doubted");
    Require(slots == s_.slots_, "the slots do not add up");
  }

  void CheckRoadmaps() {
    for (const auto& [id, roadmap] : s_.roadmaps_) {
      const Scheduler::RoadmapCounts &is = roadmap.counts, &want = counts_[id];
      Require(is.total == want.total && is.queued == want.queued && is.leased == want.leased &&
                  is.held == want.held && is.ended == want.ended &&
                  std::abs(is.cost_done - want.cost_done) < 1e-6 * (1 + want.cost_total) &&
                  std::abs(is.cost_total - want.cost_total) < 1e-6 * (1 + want.cost_total),
              "the counts of roadmap ", id.value, " are not those of its trials");
      Require(in_turn_[id] == roadmap.leased_in_turn, "roadmap ", id.value,
              " is charged for other leases than it has");
      Require(ready_by_[id] == s_.queue_.CountByNeeds(id), "the work queue of roadmap ", id.value,
              " holds trials with other needs than are ready");
    }
    Require(ready_ == s_.queue_.size(), "the work queue holds other trials than are ready");
    for (const auto& [id, reason] : s_.drained_) {
      const auto worker = s_.workers_.find(id);
      Require(worker == s_.workers_.end() || !s_.GetsWork(id), "worker ", id.value,
              " was told to drain and gets work");
    }
  }

  void CheckMachines() {
    for (const auto& [host, node] : s_.nodes_.nodes()) {
      if (node.standing != Standing::kQuarantined) continue;
      for (TrialId id : s_.nodes_.FailedOnlyOn(host)) {
        const Scheduler::Trial& trial = s_.trials_.at(id);
        const Ended* ended = std::get_if<Ended>(&trial.state);
        const bool may_wait =
            std::any_of(trial.wants.begin(), trial.wants.end(), [&](const Scheduler::Want& want) {
              return want.active &&
                     s_.roadmaps_.at(want.roadmap).policy.deadline == absl::InfiniteFuture();
            });
        Require(ended == nullptr || ended->outcome != Outcome::kFailed || !may_wait ||
                    trial.failures[static_cast<int>(FailureClass::kWorkerLost)] > 0,
                "trial ", id.value, " is given up though it failed only on ", host,
                ", which is quarantined");
      }
    }
  }

  const Scheduler& s_;
  std::vector<std::string> violations_;
  std::map<RoadmapId, Scheduler::RoadmapCounts> counts_;
  std::map<RoadmapId, int64_t> in_turn_;
  std::map<WorkerId, std::set<TrialId>> held_;
  std::map<WorkerId, double> load_;
  std::set<std::pair<absl::Time, TrialId>> backing_off_;
  size_t ready_ = 0;
  std::map<RoadmapId, std::map<Needs, size_t>> ready_by_;
};

std::vector<std::string> FindViolations(const Scheduler& scheduler) {
  return SchedulerInspector(scheduler).Run();
}

std::string Fingerprint(const Scheduler& scheduler, absl::Time now) {
  return SchedulerInspector(scheduler).Describe(now);
}

std::string EffectLedger::Fingerprint() const {
  std::string text;
  for (const auto& [id, trial] : trials_) {
    absl::StrAppend(&text, "t", id.value, " ", int(trial.state), int(trial.outcome));
    for (const Attempt& a : trial.attempts) {
      absl::StrAppend(&text, ",", a.worker.value, a.outcome ? int(*a.outcome) : -1,
                      a.lost ? "l" : "");
    }
  }
  return text;
}

EffectLedger::EffectLedger(const Scheduler::Snapshot& snapshot) {
  for (const Scheduler::Snapshot::Trial& t : snapshot.trials) {
    Trial& trial = trials_[t.id];
    trial.attempts.resize(t.attempts, Attempt{WorkerId{}, Outcome::kFailed});
    if (const Leased* leased = std::get_if<Leased>(&t.state)) {
      trial.state = Trial::State::kLeased;
      trial.attempts.back() = Attempt{leased->worker};
    } else if (const Ended* ended = std::get_if<Ended>(&t.state)) {
      trial.state = Trial::State::kEnded;
      trial.outcome = ended->outcome;
    }
  }
}

bool EffectLedger::Require(bool holds, TrialId trial, std::string_view rule) {
  if (!holds) {
    violations_.push_back(absl::StrCat("trial ", trial.value, ": ", std::string(rule)));
  }
  return holds;
}

EffectLedger::Attempt* EffectLedger::Find(AttemptId attempt) {
  auto it = trials_.find(attempt.trial);
  const bool known = it != trials_.end() && attempt.number >= 1 &&
                     attempt.number <= static_cast<int>(it->second.attempts.size());
  if (!Require(known, attempt.trial, "an effect names an attempt that was never made"))
    return nullptr;
  return &it->second.attempts[attempt.number - 1];
}

void EffectLedger::Record(const Effects& effects) {
  for (const Effect& effect : effects) std::visit([&](const auto& e) { On(e); }, effect);
  for (const auto& [id, trial] : trials_) {
    const auto open = std::count_if(trial.attempts.begin(), trial.attempts.end(),
                                    [](const Attempt& a) { return !a.outcome; });
    Require(open == (trial.state == Trial::State::kLeased ? 1 : 0), id,
            "an open attempt stands for a lease, and only for one");
  }
}

void EffectLedger::On(const AttemptAssigned& effect) {
  Trial& trial = trials_[effect.attempt.trial];
  Require(trial.state == Trial::State::kQueued, effect.attempt.trial,
          "only a queued trial is leased");
  Require(effect.attempt.number == static_cast<int>(trial.attempts.size()) + 1,
          effect.attempt.trial, "attempt numbers run 1, 2, ...");
  trial.attempts.push_back({effect.worker});
  trial.state = Trial::State::kLeased;
}

void EffectLedger::On(const AttemptRepeated& effect) {
  const Attempt* attempt = Find(effect.attempt);
  if (attempt == nullptr) return;
  Require(!attempt->outcome && attempt->worker == effect.worker, effect.attempt.trial,
          "only an open attempt is told again, and to its own worker");
}

void EffectLedger::On(const AttemptRecovered& effect) {
  Attempt* attempt = Find(effect.attempt);
  if (attempt == nullptr) return;
  Trial& trial = trials_[effect.attempt.trial];
  Require(trial.state == Trial::State::kQueued && attempt == &trial.attempts.back() &&
              attempt->lost && attempt->worker == effect.worker,
          effect.attempt.trial, "only the newest attempt, lost with its worker, is recovered");
  *attempt = {effect.worker};
  trial.state = Trial::State::kLeased;
}

void EffectLedger::On(const AttemptEnded& effect) {
  Attempt* attempt = Find(effect.attempt);
  if (attempt == nullptr) return;
  const TrialId id = effect.attempt.trial;
  Trial& trial = trials_[id];
  Require(effect.failure.has_value() == (effect.outcome == Outcome::kFailed), id,
          "a failed attempt, and no other, has a class");
  if (effect.late) {
    Require(attempt->outcome && !IsResult(*attempt->outcome) && IsResult(effect.outcome), id,
            "what comes late is the first result of an attempt written off");
  } else {
    Require(!attempt->outcome, id, "an attempt ends once");
    if (trial.state == Trial::State::kLeased && attempt == &trial.attempts.back()) {
      trial.state = Trial::State::kQueued;  // until an effect says otherwise
    }
  }
  attempt->outcome = effect.outcome;
  attempt->lost =
      effect.failure == FailureClass::kWorkerLost || effect.failure == FailureClass::kPreempted;
}

void EffectLedger::On(const TrialQueued& effect) {
  Trial& trial = trials_[effect.trial];
  Require(trial.state != Trial::State::kEnded || effect.fresh_budgets, effect.trial,
          "an ended trial is queued again only with fresh budgets");
  Require(trial.state != Trial::State::kEnded || !IsResult(trial.outcome), effect.trial,
          "a trial with a result is never queued again");
  trial.state = Trial::State::kQueued;
}

void EffectLedger::On(const TrialEnded& effect) {
  Trial& trial = trials_[effect.trial];
  Require(trial.state != Trial::State::kEnded ||
              (trial.outcome == Outcome::kFailed && IsResult(effect.outcome)),
          effect.trial, "a trial ends once, but that a failed one may still get its result");
  Require(effect.failure.has_value() == (effect.outcome == Outcome::kFailed), effect.trial,
          "a failed trial, and no other, has a class");
  const auto results =
      std::count_if(trial.attempts.begin(), trial.attempts.end(),
                    [](const Attempt& a) { return a.outcome && IsResult(*a.outcome); });
  Require(results == (IsResult(effect.outcome) ? 1 : 0), effect.trial,
          "a result is that of exactly one attempt");
  trial.state = Trial::State::kEnded;
  trial.outcome = effect.outcome;
}

void EffectLedger::On(const AttemptAbandoned& effect) {
  // A worker may name anything; what it should drop must not be open in its own name.
  auto it = trials_.find(effect.attempt.trial);
  if (it == trials_.end() || effect.attempt.number < 1 ||
      effect.attempt.number > static_cast<int>(it->second.attempts.size())) {
    return;
  }
  const Attempt& attempt = it->second.attempts[effect.attempt.number - 1];
  Require(attempt.outcome || attempt.worker != effect.worker || it->second.attempts.empty(),
          effect.attempt.trial, "a worker is not told to drop an attempt that is its own");
}

void EffectLedger::On(const WorkerLeft& effect) {
  for (const auto& [id, trial] : trials_) {
    for (const Attempt& attempt : trial.attempts) {
      Require(attempt.outcome || attempt.worker != effect.worker, id,
              "a worker that left holds nothing");
    }
  }
}

void EffectLedger::Compare(const Scheduler& scheduler) {
  for (const auto& [id, trial] : trials_) {
    const Scheduler::Trial* other = scheduler.FindTrial(id);
    if (!Require(other != nullptr, id, "the scheduler forgot it")) continue;
    Require(other->attempts == static_cast<int>(trial.attempts.size()), id,
            "the scheduler counts other attempts than were recorded");
    const std::string_view recorded = trial.state == Trial::State::kQueued ? "queued"
                                      : trial.state == Trial::State::kLeased
                                          ? "leased"
                                          : OutcomeName(trial.outcome);
    Require(recorded == TrialStateName(other->state), id,
            absl::StrCat("the scheduler says ", std::string(TrialStateName(other->state)),
                         ", the record says ", std::string(recorded)));
  }
}

}  // namespace saffron
