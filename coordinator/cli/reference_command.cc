// `saffron reference`: every key and metric, as Markdown.

#include <iostream>

#include "coordinator/cli/command.h"
#include "coordinator/report/reference.h"

namespace saffron {

void AddReferenceCommand(CLI::App& app, Cli& cli) {
  cli.AddCommand(app, "reference", "Print the tables of keys and metrics, as Markdown",
                 "saffron reference", []() -> absl::StatusOr<ExitCode> {
                   std::cout << ReferenceMarkdown();
                   return ExitCode::kDone;
                 });
}

}  // namespace saffron
