// The engine's calls that change what runs: cancelling, resuming, retrying, pausing and weighing
// roadmaps; draining workers and judging machines.

#include <algorithm>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "coordinator/engine/engine.h"
#include "core/base/status_macros.h"
#include "core/model/registry.h"

namespace saffron {
namespace {

// Trials that the effects queued, took up or gave up.
std::set<TrialId> ChangedTrials(const Effects& effects) {
  std::set<TrialId> changed;
  for (const Effect& effect : effects) {
    if (const auto* want = std::get_if<WantChanged>(&effect)) changed.insert(want->trial);
    if (const auto* queued = std::get_if<TrialQueued>(&effect)) changed.insert(queued->trial);
  }
  return changed;
}

}  // namespace

absl::StatusOr<Engine::Selected> Engine::Select(const ControlCall& call, absl::Status* refused) {
  Selected selected;
  const absl::StatusOr<RoadmapView*> view = FindRoadmap(call.roadmap);
  if (!view.ok()) {
    *refused = view.status();
    return selected;
  }
  selected.roadmap = *view;
  const RoadmapInfo& info = (*view)->info;
  for (int64_t id : call.trials) {
    const Scheduler::Trial* trial = scheduler_.FindTrial(TrialId{id});
    if (trial == nullptr || trial->FindWant(info.id) == nullptr) {
      *refused = absl::NotFoundError(absl::StrCat("trial ", id, " is not in roadmap ", info.name));
      return selected;
    }
  }
  if (!call.trials.empty()) {
    selected.trials.emplace();
    for (int64_t id : call.trials) selected.trials->push_back(TrialId{id});
    std::sort(selected.trials->begin(), selected.trials->end());
  }
  const auto narrow = [&](const char* what, const std::vector<std::string>& names,
                          auto find) -> absl::Status {
    if (names.empty() || !refused->ok()) return absl::OkStatus();
    std::set<TrialId> found;
    for (const std::string& name : names) {
      ASSIGN_OR_RETURN(const std::vector<TrialId> trials, (store_->*find)(info, name));
      if (trials.empty()) {
        *refused =
            absl::NotFoundError(absl::StrCat("roadmap ", info.name, " has no ", what, " ", name));
        return absl::OkStatus();
      }
      found.insert(trials.begin(), trials.end());
    }
    if (!selected.trials) {
      selected.trials.emplace(found.begin(), found.end());
      return absl::OkStatus();
    }
    std::erase_if(*selected.trials, [&](TrialId id) { return found.count(id) == 0; });
    if (selected.trials->empty()) {
      *refused = absl::NotFoundError(
          absl::StrCat("no trial of roadmap ", info.name, " fits all that was asked for"));
    }
    return absl::OkStatus();
  };
  RETURN_IF_ERROR(narrow("variant", call.variants, &RunStore::TrialsOfVariant));
  RETURN_IF_ERROR(narrow("block", call.blocks, &RunStore::TrialsOfBlock));
  return selected;
}

absl::Status Engine::DoControl(const ControlCall& call, bool resume, const Done<int64_t>& done) {
  absl::Status refused;
  ASSIGN_OR_RETURN(const Selected selected, Select(call, &refused));
  if (!refused.ok()) {
    Reply<int64_t>(done, refused);
    return absl::OkStatus();
  }
  const RoadmapId roadmap = selected.roadmap->info.id;
  const std::string reason = call.reason.empty() ? (resume ? "resumed" : "cancelled") : call.reason;
  Effects effects;
  if (resume) {
    ASSIGN_OR_RETURN(effects, Apply(ResumeRequested{roadmap, selected.trials, reason}));
  } else {
    ASSIGN_OR_RETURN(effects, Apply(CancelRequested{roadmap, selected.trials, reason}));
  }
  const int64_t changed = static_cast<int64_t>(ChangedTrials(effects).size());
  if (changed > 0) {
    RETURN_IF_ERROR(store_->RecordEvent(resume ? "resume" : "cancel", roadmap, std::nullopt,
                                        absl::StrCat(reason, ": ", changed, " trials"), now_));
  }
  Reply<int64_t>(done, changed);
  return absl::OkStatus();
}

absl::Status Engine::DoRetry(const RetryCall& call, const Done<RetryAnswer>& done) {
  absl::Status refused;
  ASSIGN_OR_RETURN(Selected selected, Select(call.what, &refused));
  if (!refused.ok()) {
    Reply<RetryAnswer>(done, refused);
    return absl::OkStatus();
  }
  const RoadmapInfo& info = selected.roadmap->info;
  ASSIGN_OR_RETURN(const auto failures, store_->LoadFailures(info));
  RetryAnswer answer;
  std::vector<TrialId> trials;
  for (const auto& [trial, failure] : failures) {
    const bool named = !selected.trials ||
                       std::binary_search(selected.trials->begin(), selected.trials->end(), trial);
    const bool fits =
        call.classes.empty() || std::count(call.classes.begin(), call.classes.end(), failure) > 0;
    if (!named || !fits) continue;
    trials.push_back(trial);
    ++answer.failed_as[failure];
  }
  if (trials.empty()) {
    Reply<RetryAnswer>(done, std::move(answer));
    return absl::OkStatus();
  }
  RETURN_IF_ERROR(BeginOnce());
  if (call.memory_bytes || call.trial_time) {
    RETURN_IF_ERROR(store_->SetLimits(info, trials, call.memory_bytes, call.trial_time));
  }
  std::string what = call.what.reason.empty() ? "retried" : call.what.reason;
  std::string classes;
  for (const auto& [failure, count] : answer.failed_as) {
    absl::StrAppend(&classes, classes.empty() ? "" : ", ", count, " ",
                    std::string(FailureClassName(failure)));
  }
  const size_t retried = trials.size();
  ASSIGN_OR_RETURN(const Effects effects, Apply(ResumeRequested{info.id, std::move(trials), what}));
  answer.changed = static_cast<int64_t>(ChangedTrials(effects).size());
  RETURN_IF_ERROR(store_->RecordEvent("retry", info.id, std::nullopt,
                                      absl::StrCat(what, ": ", retried, " trials (", classes, ")"),
                                      now_));
  Reply<RetryAnswer>(done, std::move(answer));
  return absl::OkStatus();
}

absl::Status Engine::DoRoadmapEvent(const std::string& roadmap, const Done<bool>& done,
                                    const std::function<Event(RoadmapId)>& event) {
  const absl::StatusOr<RoadmapView*> view = FindRoadmap(roadmap);
  if (!view.ok()) {
    Reply<bool>(done, view.status());
    return absl::OkStatus();
  }
  ASSIGN_OR_RETURN(const Effects effects, Apply(event((*view)->info.id)));
  Reply<bool>(done, !effects.empty());
  return absl::OkStatus();
}

// ---- The fleet

void Engine::Count(const Effects& effects) {
  for (const Effect& effect : effects) {
    if (std::holds_alternative<AttemptAssigned>(effect)) {
      ++counters_.assigned;
    } else if (const auto* ended = std::get_if<AttemptEnded>(&effect)) {
      ++counters_.ended[static_cast<int>(ended->outcome)];
      if (ended->failure) ++counters_.failed[static_cast<int>(*ended->failure)];
      if (ended->late) ++counters_.late_results;
    } else if (const auto* left = std::get_if<WorkerLeft>(&effect)) {
      counters_.workers_lost += !left->drained;
    }
  }
}

absl::Status Engine::DoMetrics(const Done<MetricsView>& done) {
  MetricsView view{.roadmaps = {},
                   .fleet = scheduler_.fleet(),
                   .paused = !paused_.empty(),
                   .counters = counters_};
  for (const auto& [id, roadmap] : roadmaps_) {
    const Scheduler::RoadmapCounts* counts = scheduler_.Counts(id);
    if (counts == nullptr) continue;
    view.roadmaps.push_back({roadmap.info.name, *counts, scheduler_.Control(id)});
  }
  for (const auto& [host, node] : scheduler_.nodes().nodes()) {
    view.quarantined_nodes += node.standing == Standing::kQuarantined;
  }
  Reply<MetricsView>(done, std::move(view));
  return absl::OkStatus();
}

absl::Status Engine::DoListWorkers(const Done<FleetView>& done) {
  FleetView view{.workers = {},
                 .nodes = scheduler_.nodes().nodes(),
                 .lease = options_.scheduler.lease,
                 .time = now_};
  ASSIGN_OR_RETURN(const auto known, store_->LoadWorkers());
  for (const auto& [id, info] : known) {
    std::optional<Scheduler::WorkerView> now = scheduler_.ViewWorker(id);
    if (!now) continue;
    FleetView::Worker worker{id, info, *std::move(now),
                             scheduler_.nodes().StandingOf(info.hostname)};
    for (CorpusId corpus : worker.now.missing.named) {
      ASSIGN_OR_RETURN(const RunStore::Corpus missing, store_->LoadCorpus(corpus));
      worker.missing_corpora.push_back(missing.name);
    }
    view.workers.push_back(std::move(worker));
  }
  Reply<FleetView>(done, std::move(view));
  return absl::OkStatus();
}

absl::StatusOr<Engine::MeantWorkers> Engine::FindWorkers(const std::string& name) const {
  MeantWorkers meant;
  std::vector<std::string> names;
  int64_t number = 0;
  const bool is_number = absl::SimpleAtoi(name, &number);
  for (const auto& [worker, session] : sessions_) {
    const bool is_it = worker == name || (is_number && session.worker.value == number);
    const bool is_host = session.info.hostname == name || name == "all";
    if (is_it || is_host) meant.workers.push_back(session.worker);
    if (is_host) meant.hosts.insert(session.info.hostname);
    names.push_back(worker);
    names.push_back(session.info.hostname);
  }
  for (const auto& [host, node] : scheduler_.nodes().nodes()) {
    if (host == name || name == "all") meant.hosts.insert(host);
    names.push_back(host);
  }
  if (!meant.workers.empty() || !meant.hosts.empty()) return meant;
  const std::string near = NearestName(name, names);
  return absl::NotFoundError(absl::StrCat("there is no worker or machine ", name,
                                          near.empty()
                                              ? "; `saffron worker list` shows those there are"
                                              : absl::StrCat("; did you mean ", near, "?")));
}

absl::Status Engine::DoControlWorker(const WorkerControlCall& call,
                                     const Done<WorkerControlAnswer>& done) {
  using Action = WorkerControlCall::Action;
  absl::StatusOr<MeantWorkers> meant = FindWorkers(call.worker);
  if (!meant.ok()) {
    Reply<WorkerControlAnswer>(done, meant.status());
    return absl::OkStatus();
  }
  WorkerControlAnswer answer;
  for (WorkerId worker : meant->workers) {
    std::optional<std::string> reason;
    if (call.action == Action::kDrain) reason = call.reason.empty() ? "drained" : call.reason;
    const auto name = names_.find(worker);
    const std::string called = name == names_.end() ? "" : name->second;
    if (!scheduler_.HasWorker(worker)) continue;
    // To judge a worker is to judge its machine.
    meant->hosts.insert(scheduler_.ViewWorker(worker)->host);
    ASSIGN_OR_RETURN(const Effects effects, Apply(DrainRequested{worker, reason}));
    if (!effects.empty()) answer.workers.push_back(called);
  }
  for (const std::string& host : meant->hosts) {
    if (call.action == Action::kDrain || host.empty()) continue;
    const Standing standing =
        call.action == Action::kTrust ? Standing::kTrusted : Standing::kNormal;
    if (scheduler_.nodes().StandingOf(host) != standing) answer.nodes.push_back(host);
    if (standing == Standing::kNormal && scheduler_.nodes().Find(host) == nullptr) continue;
    RETURN_IF_ERROR(Apply(StandingRequested{host, standing, call.reason}).status());
  }
  Reply<WorkerControlAnswer>(done, std::move(answer));
  return absl::OkStatus();
}

}  // namespace saffron
