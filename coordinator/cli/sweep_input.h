#pragma once
// The SWEEP argument of run, submit and plan, with the options that change it.

#include <string>
#include <vector>

#include "coordinator/cli/command.h"
#include "saffron/v1/sweep.pb.h"

namespace saffron {

struct SweepInput {
  std::string path;
  std::vector<std::string> set;
  int64_t seeds = 0;  // 0: the file's

  void AddOptions(CLI::App* command);
  // INVALID_ARGUMENT as the sweep reader says it.
  absl::StatusOr<v1::SweepSpec> Read() const;
  // The arguments again, as a user would type them: "my.yaml --set tokens=100000".
  std::string CommandLine() const;
};

// `text` so that a shell reads it as one word.
std::string ShellWord(const std::string& text);

}  // namespace saffron
