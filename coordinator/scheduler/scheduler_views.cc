// What the scheduler says about workers and roadmaps to people.

#include <algorithm>

#include "coordinator/scheduler/scheduler.h"

namespace saffron {

Scheduler::Fleet Scheduler::fleet() const {
  Fleet fleet;
  for (const auto& [id, worker] : workers_) {
    if (worker.slots > 0) ++fleet.workers;
    fleet.slots += worker.slots;
    fleet.leased += static_cast<int>(worker.held.size());
    if (GetsWork(id)) {
      fleet.idle_slots += std::max(0, worker.slots - static_cast<int>(worker.held.size()));
    } else if (worker.slots > 0) {
      ++fleet.barred;
    }
  }
  return fleet;
}

Scheduler::NeedsView Scheduler::ViewNeeds(const Needs& needs) const {
  NeedsView view;
  for (const auto& [id, worker] : workers_) {
    if (!GetsWork(id)) continue;
    if (worker.missing.Has(needs)) {
      view.lacking.push_back(id);
      view.lack_corpus = view.lack_corpus || worker.missing.HasCorpus(needs.corpus);
      view.lack_bf16 = view.lack_bf16 || (needs.bf16 && worker.missing.bf16);
      continue;
    }
    ++view.able;
    view.idle_slots += std::max(0, worker.slots - static_cast<int>(worker.held.size()));
  }
  return view;
}

std::map<Needs, size_t> Scheduler::ReadyByNeeds(RoadmapId roadmap) const {
  if (Control(roadmap).paused) return {};
  return queue_.CountByNeeds(roadmap);
}

std::optional<Scheduler::WorkerView> Scheduler::ViewWorker(WorkerId id) const {
  auto worker = workers_.find(id);
  if (worker == workers_.end()) return std::nullopt;
  WorkerView view{.slots = worker->second.slots,
                  .host = worker->second.host,
                  .held = worker->second.held,
                  .drained = {},
                  .expires = worker->second.expires,
                  .missing = worker->second.missing};
  if (auto drained = drained_.find(id); drained != drained_.end()) view.drained = drained->second;
  return view;
}

bool Scheduler::MayLeave(WorkerId id) const {
  auto worker = workers_.find(id);
  return worker != workers_.end() && worker->second.held.empty() && drained_.count(id) > 0;
}

Scheduler::RoadmapControl Scheduler::Control(RoadmapId id) const {
  auto roadmap = roadmaps_.find(id);
  return roadmap == roadmaps_.end() ? RoadmapControl{} : roadmap->second.control;
}

}  // namespace saffron
