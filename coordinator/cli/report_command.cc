// `saffron report`: what a roadmap found, as `saffron run` prints it at its end.

#include <unistd.h>

#include <iostream>
#include <memory>
#include <string>

#include "coordinator/cli/command.h"
#include "coordinator/cli/connect.h"
#include "coordinator/cli/printing.h"
#include "coordinator/cli/program.h"
#include "coordinator/report/run_report.h"
#include "core/base/status_macros.h"

namespace saffron {
namespace {

absl::StatusOr<ExitCode> Report(Cli& cli, const std::string& roadmap) {
  ASSIGN_OR_RETURN(const std::unique_ptr<ReadSource> source, OpenSource(cli));
  RETURN_IF_ERROR(PrintRunReport(*source, roadmap,
                                 {.width = TerminalWidth(),
                                  .cut = TableWidth() > 0,
                                  .colour = UseColour(STDOUT_FILENO),
                                  .mode = cli.output,
                                  .program = ProgramAsCalled()},
                                 std::cout));
  return ExitCode::kDone;
}

}  // namespace

void AddReportCommand(CLI::App& app, Cli& cli) {
  auto roadmap = std::make_shared<std::string>("last");
  CLI::App* command =
      cli.AddCommand(app, "report", "Print what a roadmap has found so far",
                     "saffron report\nsaffron report saffu-roadmap --coordinator 127.0.0.1:7411\n"
                     "saffron report last --output json   # everything; csv: the leaderboard",
                     [&cli, roadmap] { return Report(cli, *roadmap); });
  command->add_option("ROADMAP", *roadmap, "Name or id of a roadmap, or last")
      ->capture_default_str();
  cli.AddDatabase(command);
  cli.AddCoordinator(command);
  cli.AddOutput(command);
}

}  // namespace saffron
