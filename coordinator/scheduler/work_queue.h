#pragma once
// Which queued trial is next: roadmaps take turns, within a roadmap trials have a fixed order.

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <utility>

#include "coordinator/scheduler/ids.h"
#include "coordinator/scheduler/needs.h"

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

// Ready trials by roadmap. Roadmaps take turns so that each has a share of the leases in proportion
// to its weight: the next trial is of the roadmap with the fewest leases for its weight, as in
// weighted fair queueing (Demers, Keshav and Shenker, 1989) with slots for bandwidth. A roadmap
// that waits gains no credit. A trial that several roadmaps want stands in the queue of each. Every
// operation is O(log n) in the trials, and O(roadmaps x corpora) for a worker.
// Not thread-safe.
class WorkQueue {
 public:
  void Add(RoadmapId roadmap, const Needs& needs, const WorkOrder& order);
  void Remove(RoadmapId roadmap, const Needs& needs, const WorkOrder& order);  // it is there
  // The number of the roadmap's trials that are leased in its turn changed.
  void SetLeased(RoadmapId roadmap, int64_t leased);
  void SetWeight(RoadmapId roadmap, double weight);  // > 0; 1 until set
  // A paused roadmap's trials stay where they are, but are not next.
  void SetPaused(RoadmapId roadmap, bool paused);

  struct Pick {
    RoadmapId roadmap;
    TrialId trial;
  };
  // First trial of the roadmap that has fewest leased for its weight (of the oldest of them), among
  // trials that need nothing that is missing; none when nothing can be started.
  std::optional<Pick> Next(const Missing& missing) const;

  // Whether nothing can be started anywhere.
  bool empty() const { return turns_.empty(); }
  // Entries, so that a trial counts once for each roadmap that wants it.
  size_t size() const { return size_; }
  // Those that can be started where this is missing.
  size_t CountStartable(const Missing& missing) const;
  // Entries of the roadmap by what they need.
  std::map<Needs, size_t> CountByNeeds(RoadmapId roadmap) const;
  // Entries of the roadmap before `order`. O(n): for explanations.
  int64_t CountBefore(RoadmapId roadmap, const WorkOrder& order) const;

 private:
  using Ready = std::map<Needs, std::set<WorkOrder>>;  // no empty sets
  struct Queue {
    int64_t leased = 0;
    double weight = 1;
    bool paused = false;
    Ready ready;

    double share() const { return static_cast<double>(leased) / weight; }
    bool in_turn() const { return !paused && !ready.empty(); }
  };
  // Changes what decides the roadmap's turn.
  template <typename Change>
  void Alter(RoadmapId roadmap, const Change& change);

  std::map<RoadmapId, Queue> queues_;
  std::set<std::pair<double, RoadmapId>> turns_;  // (share, roadmap) where in_turn
  size_t size_ = 0;
};

}  // namespace saffron
