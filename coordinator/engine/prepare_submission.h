#pragma once
// From a sweep as it was written to what the database stores: expanded, with the fingerprints of
// its data, the costs and the names of its variants. Pure and thread-safe, and the expensive part
// of a submission: done before the engine sees it.

#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "coordinator/store/submission.h"
#include "coordinator/sweep/expand.h"
#include "saffron/v1/sweep.pb.h"

namespace saffron {

struct PreparedSubmission {
  Submission submission;
  std::vector<BlockStatistics> blocks;
  std::vector<std::string> notes;
};

// `corpora`: fingerprint by name of every corpus there is. INVALID_ARGUMENT with FILE:LINE:COLUMN
// whatever is wrong with the sweep, an unknown corpus included.
absl::StatusOr<PreparedSubmission> PrepareSubmission(
    v1::SweepSpec spec, int numerics, const std::map<std::string, std::string>& corpora);

}  // namespace saffron
