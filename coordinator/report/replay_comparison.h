#pragma once
// A trial run twice: whether every number that should be the same is, to the last bit.

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "coordinator/report/read_source.h"

namespace saffron {

// A value of a metric at a step of the learning curve, or at the end.
struct MetricPoint {
  std::string key;
  std::optional<int64_t> step;  // nullopt: the final value
  double value = 0;
};

struct MetricDifference {
  std::string key;
  std::optional<int64_t> step;
  std::optional<double> stored, replayed;  // nullopt: there is none
};

// The deterministic metrics that differ, by step, final ones last; NaNs are equal. Metrics that the
// registry does not call deterministic are left out.
std::vector<MetricDifference> CompareMetrics(const std::vector<MetricPoint>& stored,
                                             const std::vector<MetricPoint>& replayed);

// What the database holds of the trial.
absl::StatusOr<std::vector<MetricPoint>> LoadMetrics(ReadSource& source, int64_t trial);

// With every digit that a number has.
ResultTable DifferenceTable(const std::vector<MetricDifference>& differences);

}  // namespace saffron
