#pragma once
// Identifiers of the coordinator, each of its own type. Values are row ids of the results database.

#include <compare>
#include <cstdint>
#include <string>
#include <utility>

namespace saffron {

template <typename Tag>
struct RowId {
  int64_t value = 0;

  auto operator<=>(const RowId&) const = default;
  template <typename H>
  friend H AbslHashValue(H h, const RowId& id) {
    return H::combine(std::move(h), id.value);
  }
};

using TrialId = RowId<struct TrialTag>;
using RoadmapId = RowId<struct RoadmapTag>;
using WorkerId = RowId<struct WorkerTag>;  // one worker process
// What a corpus holds, under whatever name. 0: a trial that reads none.
using CorpusId = RowId<struct CorpusTag>;

// One execution of a trial. Numbers run 1, 2, ... within a trial and fence late reports.
struct AttemptId {
  TrialId trial;
  int32_t number = 0;

  auto operator<=>(const AttemptId&) const = default;
};

}  // namespace saffron
