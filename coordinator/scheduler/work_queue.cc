#include "coordinator/scheduler/work_queue.h"

#include <iterator>

#include "core/base/check.h"

namespace saffron {

template <typename Change>
void WorkQueue::Alter(RoadmapId roadmap, const Change& change) {
  Queue& queue = queues_[roadmap];
  if (queue.in_turn()) turns_.erase({queue.share(), roadmap});
  size_ -= queue.ready.size();
  if (queue.paused) paused_size_ -= queue.ready.size();
  change(queue);
  size_ += queue.ready.size();
  if (queue.paused) paused_size_ += queue.ready.size();
  if (queue.in_turn()) turns_.insert({queue.share(), roadmap});
}

void WorkQueue::Add(RoadmapId roadmap, const WorkOrder& order) {
  Alter(roadmap, [&](Queue& queue) {
    CHECK(queue.ready.insert(order).second) << "trial " << order.trial.value << " queued twice";
  });
}

void WorkQueue::Remove(RoadmapId roadmap, const WorkOrder& order) {
  Alter(roadmap, [&](Queue& queue) {
    CHECK(queue.ready.erase(order) == 1) << "trial " << order.trial.value << " was not queued";
  });
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

std::optional<WorkQueue::Pick> WorkQueue::Next() const {
  if (turns_.empty()) return std::nullopt;
  const RoadmapId roadmap = turns_.begin()->second;
  return Pick{roadmap, queues_.at(roadmap).ready.begin()->trial};
}

int64_t WorkQueue::CountBefore(RoadmapId roadmap, const WorkOrder& order) const {
  auto it = queues_.find(roadmap);
  if (it == queues_.end()) return 0;
  return std::distance(it->second.ready.begin(), it->second.ready.lower_bound(order));
}

}  // namespace saffron
