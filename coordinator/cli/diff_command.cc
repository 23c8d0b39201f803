// `saffron diff`: where two trials or variants differ, and what they came to.

#include <iostream>
#include <memory>
#include <string>

#include "coordinator/cli/command.h"
#include "coordinator/cli/connect.h"
#include "coordinator/cli/printing.h"
#include "coordinator/report/card.h"
#include "core/base/status_macros.h"

namespace saffron {
namespace {

struct DiffOptions {
  std::string a, b;
};

absl::StatusOr<ExitCode> RunDiff(Cli& cli, const DiffOptions& options) {
  ASSIGN_OR_RETURN(const std::unique_ptr<ReadSource> source, OpenSource(cli));
  ASSIGN_OR_RETURN(const Thing a, FindThing(*source, options.a));
  ASSIGN_OR_RETURN(const Thing b, FindThing(*source, options.b));
  ASSIGN_OR_RETURN(ResultTable table, Diff(*source, a, b));
  table.columns[1] = options.a;
  table.columns[2] = options.b;
  if (cli.output == OutputMode::kJson || options.a == options.b) {
    table.columns[1] = "a";
    table.columns[2] = "b";
  }
  PrintToStdout(cli, table);
  return ExitCode::kDone;
}

}  // namespace

void AddDiffCommand(CLI::App& app, Cli& cli) {
  auto options = std::make_shared<DiffOptions>();
  CLI::App* command =
      cli.AddCommand(app, "diff", "Compare two trials or variants: parameters that differ, metrics",
                     "saffron diff 17 23\n"
                     "saffron diff variant/3 variant/8 --output csv",
                     [&cli, options] { return RunDiff(cli, *options); });
  command->add_option("A", options->a, "A trial's number, variant/NUMBER or a digest's beginning")
      ->required();
  command->add_option("B", options->b, "Another")->required();
  cli.AddDatabase(command);
  cli.AddCoordinator(command);
  cli.AddOutput(command);
}

}  // namespace saffron
