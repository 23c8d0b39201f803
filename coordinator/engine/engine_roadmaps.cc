// The engine's calls from people: submitting, and how a roadmap stands.

#include <algorithm>
#include <cmath>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "coordinator/engine/engine.h"
#include "core/base/status_macros.h"
#include "core/model/registry.h"

namespace saffron {

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

absl::Status Engine::DoStatus(const std::string& selector, const Done<RoadmapStatus>& done) {
  const absl::StatusOr<RoadmapView*> view = FindRoadmap(selector);
  if (!view.ok()) {
    Reply<RoadmapStatus>(done, view.status());
    return absl::OkStatus();
  }
  RETURN_IF_ERROR(LoadView(*view));
  const Scheduler::RoadmapCounts* counts = scheduler_.Counts((*view)->info.id);
  const Scheduler::Fleet fleet = scheduler_.fleet();
  RoadmapStatus status{.roadmap = (*view)->info,
                       .counts = counts == nullptr ? Scheduler::RoadmapCounts{} : *counts,
                       .workers = fleet.workers,
                       .slots = fleet.slots,
                       .best = (*view)->best,
                       .last_failure = (*view)->last_failure,
                       .paused = paused_,
                       .control = scheduler_.Control((*view)->info.id),
                       .archived = (*view)->archived};
  RETURN_IF_ERROR(AddMissingCorpora(&status));
  Reply<RoadmapStatus>(done, std::move(status));
  return absl::OkStatus();
}

absl::Status Engine::AddMissingCorpora(RoadmapStatus* status) {
  for (const auto& [needs, trials] : scheduler_.ReadyByNeeds(status->roadmap.id)) {
    const Scheduler::NeedsView view = scheduler_.ViewNeeds(needs);
    if (view.able > 0 || view.lacking.empty()) continue;
    status->without_corpus += static_cast<int64_t>(trials);
    ASSIGN_OR_RETURN(const std::string lacking, DescribeLacking(needs, view));
    absl::StrAppend(&status->missing_corpora, status->missing_corpora.empty() ? "" : "; ", trials,
                    trials == 1 ? " trial waits for " : " trials wait for ", lacking);
  }
  return absl::OkStatus();
}

absl::StatusOr<std::string> Engine::DescribeLacking(const Needs& needs,
                                                    const Scheduler::NeedsView& view) {
  constexpr size_t kNamed = 4;
  std::string wanted, remedy;
  if (view.lack_corpus) {
    ASSIGN_OR_RETURN(const RunStore::Corpus missing, store_->LoadCorpus(needs.corpus));
    wanted = absl::StrCat("corpus \"", missing.name, "\" (fingerprint ",
                          missing.fingerprint.substr(0, 12), ")");
    remedy = " (bring it there with `saffron data fetch` or `saffron data add`)";
  }
  if (view.lack_bf16) {
    absl::StrAppend(&wanted, wanted.empty() ? "" : " and ",
                    "AVX512-BF16 in its CPU, for train.precision bf16");
  }
  std::vector<std::string> names;
  for (WorkerId worker : view.lacking) {
    if (names.size() == kNamed) {
      names.push_back(absl::StrCat("and ", view.lacking.size() - kNamed, " more"));
      break;
    }
    auto name = names_.find(worker);
    names.push_back(name == names_.end() ? absl::StrCat("worker ", worker.value) : name->second);
  }
  return absl::StrCat("a worker with ", wanted, "; ", absl::StrJoin(names, ", "),
                      view.lacking.size() == 1 ? " lacks it" : " lack it", remedy);
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
  ASSIGN_OR_RETURN(view->archived, store_->CountArchived(view->info));
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
