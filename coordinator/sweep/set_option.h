#pragma once
// `--set NAME=VALUE` on the command line.

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "saffron/v1/sweep.pb.h"

namespace saffron {

// Replaces constants and sets keys of the baseline, in order (sweep_reader.h, ReadOptions).
// INVALID_ARGUMENT: "--set NAME=VALUE: want …, got …".
absl::Status ApplySetOptions(const std::vector<std::string>& options, v1::SweepSpec* spec);

}  // namespace saffron
