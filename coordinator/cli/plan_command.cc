// `saffron plan`: what submitting a sweep would do. Asks the coordinator that --coordinator names,
// else works it out from the database.

#include <iostream>
#include <memory>

#include "absl/strings/str_cat.h"
#include "coordinator/cli/command.h"
#include "coordinator/cli/connect.h"
#include "coordinator/cli/local_plan.h"
#include "coordinator/cli/sweep_input.h"
#include "coordinator/cli/views.h"
#include "core/base/status_macros.h"

namespace saffron {
namespace {

struct PlanOptions {
  SweepInput sweep;
  bool detailed_exitcode = false;
};

absl::StatusOr<v1::PlanResponse> AskCoordinator(const Cli& cli, const v1::SweepSpec& spec) {
  ASSIGN_OR_RETURN(const Coordinator coordinator, ConnectToCoordinatorOf(cli));
  v1::SubmitRequest request;
  *request.mutable_spec() = spec;
  v1::PlanResponse response;
  const auto context = Coordinator::Context(absl::Minutes(10));
  RETURN_IF_ERROR(coordinator.StatusOf(coordinator.stub->Plan(context.get(), request, &response)));
  return response;
}

absl::StatusOr<ExitCode> Plan(const Cli& cli, const PlanOptions& options) {
  ASSIGN_OR_RETURN(const v1::SweepSpec spec, options.sweep.Read());
  ASSIGN_OR_RETURN(const v1::PlanResponse plan, cli.coordinator.empty()
                                                    ? PlanLocally(spec, cli.data_root, cli.database)
                                                    : AskCoordinator(cli, spec));
  PrintPlan(plan, cli.output, std::cout);
  return options.detailed_exitcode && HasChanges(plan) ? ExitCode::kUsage : ExitCode::kDone;
}

}  // namespace

void AddPlanCommand(CLI::App& app, Cli& cli) {
  auto options = std::make_shared<PlanOptions>();
  CLI::App* command =
      cli.AddCommand(app, "plan", "Say what a sweep would run, and why; changes nothing",
                     "saffron plan sweeps/quickstart.yaml\n"
                     "saffron plan my_sweep.yaml --detailed-exitcode --output json",
                     [&cli, options] { return Plan(cli, *options); });
  options->sweep.AddOptions(command);
  command->add_flag("--detailed-exitcode", options->detailed_exitcode,
                    "Exit with 2 when submitting would queue or drop trials");
  cli.AddCoordinator(command);
  cli.AddDatabase(command);
  cli.AddData(command);
  cli.AddOutput(command);
}

}  // namespace saffron
