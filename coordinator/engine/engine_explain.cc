// Why a trial is where it is, in sentences, the most important first.

#include "absl/strings/str_cat.h"
#include "coordinator/engine/engine.h"
#include "core/base/status_macros.h"

namespace saffron {
namespace {

std::string TimeText(absl::Time time) {
  return absl::FormatTime("%Y-%m-%d %H:%M:%S UTC", time, absl::UTCTimeZone());
}

std::string Quantity(int64_t n, const std::string& what) {
  return absl::StrCat(n, " ", what, n == 1 ? "" : "s");
}

std::string AttemptText(const RunStore::AttemptRecord& a) {
  std::string text = absl::StrCat("Attempt ", a.number, " on worker ", a.worker);
  if (!a.ended) return absl::StrCat(text, " runs since ", TimeText(a.assigned), ".");
  absl::StrAppend(&text,
                  a.failure_class.empty() ? absl::StrCat(" ended ", a.outcome)
                                          : absl::StrCat(" failed (", a.failure_class, ")"),
                  " at ", TimeText(*a.ended));
  if (!a.message.empty()) absl::StrAppend(&text, ": ", a.message);
  return text + ".";
}

}  // namespace

absl::Status Engine::DoExplain(TrialId id, const Done<Explanation>& done) {
  const Scheduler::Trial* trial = scheduler_.FindTrial(id);
  if (trial == nullptr) {
    Reply<Explanation>(done, absl::NotFoundError(absl::StrCat("there is no trial ", id.value)));
    return absl::OkStatus();
  }
  ASSIGN_OR_RETURN(const RunStore::TrialRecord record, store_->LoadTrialRecord(id));
  Explanation e{.state = std::string(TrialStateName(trial->state))};
  if (!paused_.empty())
    e.reasons.push_back(absl::StrCat("The coordinator is paused: ", paused_, "."));
  if (const Queued* queued = std::get_if<Queued>(&trial->state)) {
    const Scheduler::Fleet fleet = scheduler_.fleet();
    const Scheduler::NeedsView needs = scheduler_.ViewNeeds(trial->needs);
    if (trial->held) {
      const TrialId parent = *trial->parent;
      e.reasons.push_back(
          absl::StrCat("It starts from the model of trial ", parent.value, ", which is ",
                       std::string(TrialStateName(scheduler_.FindTrial(parent)->state)), "."));
    }
    bool paused = false;
    for (const Scheduler::Want& want : trial->wants) {
      const auto reason = scheduler_.Control(want.roadmap).paused;
      if (!reason || !want.active) continue;
      paused = true;
      e.reasons.push_back(absl::StrCat(
          "Roadmap ", roadmaps_.at(want.roadmap).info.name, " is paused",
          reason->empty() ? "" : absl::StrCat(" (", *reason, ")"), "; `saffron resume ",
          roadmaps_.at(want.roadmap).info.name, "` lets it go on."));
    }
    if (trial->held || paused) {
      // What workers do does not matter yet.
    } else if (queued->ready_at > now_) {
      e.reasons.push_back(absl::StrCat("It waits until ", TimeText(queued->ready_at),
                                       " before its next attempt, because the last one failed."));
    } else if (fleet.workers == 0) {
      e.reasons.push_back("No worker is connected: start one with `saffron worker`.");
    } else if (!needs.lacking.empty() && needs.idle_slots == 0) {
      ASSIGN_OR_RETURN(const std::string lacking, DescribeLacking(trial->needs, needs));
      e.reasons.push_back(absl::StrCat("It waits for ", lacking, ".",
                                       needs.able > 0      ? " Those that have it are busy."
                                       : needs.lack_corpus ? " They notice by themselves."
                                                           : ""));
    } else if (fleet.barred > 0 && fleet.idle_slots == 0) {
      e.reasons.push_back(absl::StrCat(Quantity(fleet.barred, "worker"), " of ", fleet.workers,
                                       fleet.barred == 1 ? " gets" : " get",
                                       " no new work (drained or quarantined, see `saffron "
                                       "worker list`); the others are busy."));
    } else if (fleet.idle_slots == 0) {
      e.reasons.push_back(absl::StrCat("All ", Quantity(fleet.slots, "slot"), " of ",
                                       Quantity(fleet.workers, "worker"), " are busy."));
    }
    const int64_t ahead = scheduler_.CountAhead(id);
    if (queued->ready_at <= now_ && !trial->held) {
      e.reasons.push_back(ahead == 0 ? "It is the next of its roadmap."
                                     : absl::StrCat(Quantity(ahead, "trial"), " of its roadmap ",
                                                    ahead == 1 ? "comes" : "come", " first."));
    }
  } else if (std::holds_alternative<Ended>(trial->state)) {
    std::string text = absl::StrCat(
        "It ", e.state == "succeeded" || e.state == "diverged" || e.state == "failed" ? "" : "was ",
        e.state);
    if (record.ended) absl::StrAppend(&text, " at ", TimeText(*record.ended));
    if (!record.message.empty()) absl::StrAppend(&text, ": ", record.message);
    e.reasons.push_back(text + ".");
    if (e.state == "failed" && !record.failure_class.empty()) {
      e.reasons.push_back(absl::StrCat("Its budget for ", record.failure_class,
                                       " is spent; `saffron retry` tries it again."));
    }
    const Ended& ended = std::get<Ended>(trial->state);
    if (ended.orphaned) {
      e.reasons.push_back(absl::StrCat("It starts from the model of trial ", trial->parent->value,
                                       ": once that is tried again, so is this."));
    }
  }
  for (auto it = record.attempts.rbegin(); it != record.attempts.rend(); ++it) {
    e.reasons.push_back(AttemptText(*it));
  }
  for (const std::string& host : record.hosts) {
    const NodeRecords::Node* node = scheduler_.nodes().Find(host);
    if (node == nullptr || node->failed.count(id) == 0) continue;
    e.reasons.push_back(absl::StrCat("Machine ", host, ", where it failed, ",
                                     node->standing == Standing::kQuarantined
                                         ? absl::StrCat("is quarantined: ", node->reason)
                                         : absl::StrCat("is not quarantined: ", node->evidence),
                                     "."));
  }
  if (trial->wants.empty()) e.reasons.push_back("No roadmap names it any more.");
  Reply<Explanation>(done, std::move(e));
  return absl::OkStatus();
}

}  // namespace saffron
