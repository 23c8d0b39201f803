#pragma once
// Checkpoints as people name them.

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "coordinator/cli/command.h"

namespace saffron {

// `file` as a path; or, where there is no such file and it is a number, that trial's checkpoint of
// the role ("best", "last"), or the state of one under way, beside the database. NOT_FOUND: the
// trial left none, or none is kept.
absl::StatusOr<std::string> CheckpointPath(const Cli& cli, const std::string& file,
                                           const std::string& role);

// The same of what a trial's routers did (core/train/routing_file.h).
absl::StatusOr<std::string> RoutingPath(const Cli& cli, const std::string& file);

// Whether the checkpoint `to` may be written from the file `from`: CheckTarget, and
// FAILED_PRECONDITION also with `overwrite` where `to` belongs to the results database, or is any
// other SQLite database.
absl::Status CheckCheckpointTarget(const Cli& cli, const std::string& from, const std::string& to,
                                   bool overwrite);

}  // namespace saffron
