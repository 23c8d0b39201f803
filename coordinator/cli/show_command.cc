// `saffron show`: everything known about one roadmap, variant or trial.

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

absl::StatusOr<ExitCode> Show(Cli& cli, const std::string& given) {
  ASSIGN_OR_RETURN(const std::unique_ptr<ReadSource> source, OpenSource(cli));
  ASSIGN_OR_RETURN(const Thing thing, FindThing(*source, given));
  ASSIGN_OR_RETURN(const Card card, MakeCard(*source, thing));
  PrintCard(card, StdoutOptions(cli), std::cout);
  return ExitCode::kDone;
}

}  // namespace

void AddShowCommand(CLI::App& app, Cli& cli) {
  auto given = std::make_shared<std::string>("last");
  CLI::App* command = cli.AddCommand(app, "show", "Show one roadmap, variant or trial",
                                     "saffron show last\n"
                                     "saffron show 17            # trial 17\n"
                                     "saffron show variant/3\n"
                                     "saffron show 9f86d081 --output json",
                                     [&cli, given] { return Show(cli, *given); });
  command
      ->add_option(
          "THING", *given,
          "A roadmap's name or last, a trial's number, variant/NUMBER, or the first characters "
          "of a variant's digest")
      ->capture_default_str();
  cli.AddDatabase(command);
  cli.AddCoordinator(command);
  cli.AddOutput(command);
}

}  // namespace saffron
