#pragma once
// Planning a sweep without a coordinator.

#include <string>

#include "absl/status/statusor.h"
#include "coordinator/engine/prepare_submission.h"
#include "saffron/v1/roadmap.pb.h"

namespace saffron {

// The sweep expanded against the corpora in `data_root`. INVALID_ARGUMENT for all that can be wrong
// with it.
absl::StatusOr<PreparedSubmission> PrepareLocally(const v1::SweepSpec& spec,
                                                  const std::string& data_root);

// What a coordinator of `database` would do with the sweep. A database that does not exist is an
// empty one, and is not made. FAILED_PRECONDITION: one that cannot be opened.
absl::StatusOr<v1::PlanResponse> PlanLocally(const v1::SweepSpec& spec,
                                             const std::string& data_root,
                                             const std::string& database);

}  // namespace saffron
