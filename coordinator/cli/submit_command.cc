// `saffron submit`: hands a sweep to a coordinator.

#include <iostream>
#include <memory>

#include "absl/strings/str_cat.h"
#include "coordinator/cli/command.h"
#include "coordinator/cli/connect.h"
#include "coordinator/cli/sweep_input.h"
#include "coordinator/cli/views.h"
#include "core/base/status_macros.h"

namespace saffron {
namespace {

absl::StatusOr<ExitCode> Submit(const Cli& cli, const SweepInput& sweep) {
  ASSIGN_OR_RETURN(v1::SweepSpec spec, sweep.Read());
  ASSIGN_OR_RETURN(const Coordinator coordinator, ConnectToCoordinatorOf(cli));
  v1::SubmitRequest request;
  *request.mutable_spec() = std::move(spec);
  v1::SubmitResponse response;
  const auto context = Coordinator::Context(absl::Minutes(10));
  RETURN_IF_ERROR(
      coordinator.StatusOf(coordinator.stub->Submit(context.get(), request, &response)));
  PrintMessage(absl::StrCat("roadmap ", response.name(), ", revision ", response.revision(),
                            ", at ", coordinator.address));
  PrintPlan(response.plan(), cli.output, std::cout);
  return ExitCode::kDone;
}

}  // namespace

void AddSubmitCommand(CLI::App& app, Cli& cli) {
  auto sweep = std::make_shared<SweepInput>();
  CLI::App* command = cli.AddCommand(app, "submit", "Hand a sweep to a coordinator",
                                     "saffron submit my_sweep.yaml --coordinator 127.0.0.1:7411",
                                     [&cli, sweep] { return Submit(cli, *sweep); });
  sweep->AddOptions(command);
  cli.AddCoordinator(command);
  cli.AddDatabase(command);
  cli.AddOutput(command);
}

}  // namespace saffron
