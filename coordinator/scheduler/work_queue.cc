#include "coordinator/scheduler/work_queue.h"

#include <iterator>

#include "core/base/check.h"

namespace saffron {

template <typename Change>
void WorkQueue::Alter(RoadmapId roadmap, const Change& change) {
  Queue& queue = queues_[roadmap];
  if (queue.in_turn()) turns_.erase({queue.share(), roadmap});
  change(queue);
  if (queue.in_turn()) turns_.insert({queue.share(), roadmap});
}

void WorkQueue::Add(RoadmapId roadmap, const Needs& needs, const WorkOrder& order) {
  Alter(roadmap, [&](Queue& queue) {
    CHECK(queue.ready[needs].insert(order).second)
        << "trial " << order.trial.value << " queued twice";
  });
  ++size_;
}

void WorkQueue::Remove(RoadmapId roadmap, const Needs& needs, const WorkOrder& order) {
  Alter(roadmap, [&](Queue& queue) {
    auto ready = queue.ready.find(needs);
    CHECK(ready != queue.ready.end() && ready->second.erase(order) == 1)
        << "trial " << order.trial.value << " was not queued";
    if (ready->second.empty()) queue.ready.erase(ready);
  });
  --size_;
}

void WorkQueue::SetLeased(RoadmapId roadmap, int64_t leased) {
  Alter(roadmap, [&](Queue& queue) { queue.leased = leased; });
}

void WorkQueue::SetWeight(RoadmapId roadmap, double weight) {
  CHECK(weight > 0) << weight;
  Alter(roadmap, [&](Queue& queue) { queue.weight = weight; });
}

void WorkQueue::SetPaused(RoadmapId roadmap, bool paused) {
  Alter(roadmap, [&](Queue& queue) { queue.paused = paused; });
}

std::optional<WorkQueue::Pick> WorkQueue::Next(const Missing& missing) const {
  for (const auto& [share, roadmap] : turns_) {
    const WorkOrder* first = nullptr;
    for (const auto& [needs, ready] : queues_.at(roadmap).ready) {
      if (missing.Has(needs)) continue;
      if (first == nullptr || *ready.begin() < *first) first = &*ready.begin();
    }
    if (first != nullptr) return Pick{roadmap, first->trial};
  }
  return std::nullopt;
}

size_t WorkQueue::CountStartable(const Missing& missing) const {
  size_t count = 0;
  for (const auto& [share, roadmap] : turns_) {
    for (const auto& [needs, ready] : queues_.at(roadmap).ready) {
      if (!missing.Has(needs)) count += ready.size();
    }
  }
  return count;
}

std::map<Needs, size_t> WorkQueue::CountByNeeds(RoadmapId roadmap) const {
  std::map<Needs, size_t> counts;
  auto it = queues_.find(roadmap);
  if (it == queues_.end()) return counts;
  for (const auto& [needs, ready] : it->second.ready) counts[needs] = ready.size();
  return counts;
}

int64_t WorkQueue::CountBefore(RoadmapId roadmap, const WorkOrder& order) const {
  auto it = queues_.find(roadmap);
  if (it == queues_.end()) return 0;
  int64_t before = 0;
  for (const auto& [needs, ready] : it->second.ready) {
    before += std::distance(ready.begin(), ready.lower_bound(order));
  }
  return before;
}

}  // namespace saffron
