#pragma once
// Which roadmaps a user means.

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "coordinator/report/read_source.h"
#include "coordinator/report/study.h"

namespace saffron {

// The roadmaps that the selectors name: names, ids, ranges of ids ("1-10:2"), "last", "all". In the
// order given, each once. NOT_FOUND names the nearest.
absl::StatusOr<std::vector<RoadmapName>> SelectRoadmaps(ReadSource& source,
                                                        const std::vector<std::string>& selectors);

}  // namespace saffron
