#pragma once
// Which queued trial is next: roadmaps take turns, within a roadmap trials have a fixed order.

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <utility>

#include "coordinator/scheduler/ids.h"

namespace saffron {

// Order of work within a roadmap: the first seed of every variant before the second of any, so that
// a roadmap interrupted at any time compares variants fairly; the baseline before the others; long
// trials before short ones, so that none is left running alone at the end (the rule of longest
// processing time first: Graham, "Bounds on multiprocessing timing anomalies", 1969).
struct WorkOrder {
  int32_t replicate = 0;
  bool not_baseline = true;
  float minus_cost = 0;
  int64_t position = 0;
  TrialId trial;

  auto operator<=>(const WorkOrder&) const = default;
};

// Ready trials by roadmap. A trial that several roadmaps want stands in the queue of each. Every
// operation is O(log n). Not thread-safe.
class WorkQueue {
 public:
  void Add(RoadmapId roadmap, const WorkOrder& order);
  void Remove(RoadmapId roadmap, const WorkOrder& order);  // it is there
  // The number of the roadmap's trials that are leased in its turn changed.
  void SetLeased(RoadmapId roadmap, int64_t leased);

  struct Pick {
    RoadmapId roadmap;
    TrialId trial;
  };
  // First trial of the roadmap that has fewest leased (of the oldest of them); none when all is
  // empty.
  std::optional<Pick> Next() const;

  bool empty() const { return turns_.empty(); }
  // Entries, so that a trial counts once for each roadmap that wants it.
  size_t size() const { return size_; }
  // Entries of the roadmap before `order`. O(n): for explanations.
  int64_t CountBefore(RoadmapId roadmap, const WorkOrder& order) const;

 private:
  struct Queue {
    int64_t leased = 0;
    std::set<WorkOrder> ready;
  };
  std::map<RoadmapId, Queue> queues_;
  std::set<std::pair<int64_t, RoadmapId>> turns_;  // (leased, roadmap) where ready is not empty
  size_t size_ = 0;
};

}  // namespace saffron
