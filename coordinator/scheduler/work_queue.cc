#include "coordinator/scheduler/work_queue.h"

#include <iterator>

#include "core/base/check.h"

namespace saffron {

void WorkQueue::Add(RoadmapId roadmap, const WorkOrder& order) {
  Queue& queue = queues_[roadmap];
  CHECK(queue.ready.insert(order).second) << "trial " << order.trial.value << " queued twice";
  if (queue.ready.size() == 1) turns_.insert({queue.leased, roadmap});
  ++size_;
}

void WorkQueue::Remove(RoadmapId roadmap, const WorkOrder& order) {
  Queue& queue = queues_[roadmap];
  CHECK(queue.ready.erase(order) == 1) << "trial " << order.trial.value << " was not queued";
  if (queue.ready.empty()) turns_.erase({queue.leased, roadmap});
  --size_;
}

void WorkQueue::SetLeased(RoadmapId roadmap, int64_t leased) {
  Queue& queue = queues_[roadmap];
  if (!queue.ready.empty()) {
    turns_.erase({queue.leased, roadmap});
    turns_.insert({leased, roadmap});
  }
  queue.leased = leased;
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
