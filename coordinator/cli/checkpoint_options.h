#pragma once
// Options of commands that make or keep checkpoints.

#include <cstdint>
#include <string>
#include <vector>

#include "CLI/CLI.hpp"
#include "absl/status/statusor.h"

namespace saffron {

// --checkpoint-every SECONDS
void AddCheckpointEvery(CLI::App* command, double* seconds);

// What a coordinator keeps beside its database.
struct KeptFiles {
  std::string budget = "20GiB";
  std::vector<std::string> keep;

  // --artifact-budget SIZE, --keep best,last
  void AddOptions(CLI::App* command);
  // In bytes; 0: any. INVALID_ARGUMENT: not a size.
  absl::StatusOr<int64_t> Budget() const;
};

}  // namespace saffron
