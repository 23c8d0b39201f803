// `saffron worker list`, `drain` and `release`: the fleet of a coordinator.

#include <iostream>
#include <memory>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "coordinator/cli/command.h"
#include "coordinator/cli/connect.h"
#include "coordinator/cli/printing.h"
#include "coordinator/report/number_format.h"
#include "coordinator/report/table.h"
#include "core/base/status_macros.h"

namespace saffron {
namespace {

std::string StateText(const v1::WorkerStatus& worker) {
  switch (worker.state()) {
    case v1::WorkerStatus::WORKING:
      return "working";
    case v1::WorkerStatus::IDLE:
      return "idle";
    case v1::WorkerStatus::DRAINING:
      return "draining";
    case v1::WorkerStatus::QUARANTINED:
      return "quarantined";
    case v1::WorkerStatus::EXPECTED:
      return "expected";
    default:
      return "unknown";
  }
}

double Seconds(const google::protobuf::Duration& duration) {
  return static_cast<double>(duration.seconds()) + 1e-9 * duration.nanos();
}

absl::StatusOr<ExitCode> List(const Cli& cli) {
  ASSIGN_OR_RETURN(const Coordinator coordinator, ConnectToCoordinatorOf(cli));
  v1::ListWorkersResponse fleet;
  const auto context = Coordinator::Context();
  RETURN_IF_ERROR(coordinator.StatusOf(coordinator.stub->ListWorkers(context.get(), {}, &fleet)));
  ResultTable table{.columns = {"worker", "name", "host", "state", "running", "slots", "heard_s",
                                "passed", "failed", "why"},
                    .rows = {}};
  for (const v1::WorkerStatus& w : fleet.workers()) {
    int64_t passed = 0, failed = 0;
    for (const v1::NodeStatus& node : fleet.nodes()) {
      if (node.hostname() != w.hostname()) continue;
      passed = node.trials_passed();
      failed = node.trials_failed();
    }
    // To a tenth: for people and scripts alike.
    const double heard = static_cast<double>(static_cast<int64_t>(Seconds(w.silent()) * 10)) / 10;
    std::string why = w.reason();
    if (why.empty() && !w.missing_corpora().empty()) {
      why = absl::StrCat("no corpus ", absl::StrJoin(w.missing_corpora(), ", "));
    }
    table.rows.push_back({w.id(), w.name(), w.hostname(), StateText(w), int64_t{w.leased()},
                          int64_t{w.slots()}, heard, passed, failed, why});
  }
  if (fleet.workers().empty() && cli.output == OutputMode::kTable) {
    PrintMessage(
        absl::StrCat("no worker is connected; start one with 'saffron worker "
                     "--coordinator ",
                     coordinator.address, "'"));
    return ExitCode::kDone;
  }
  PrintToStdout(cli, table);
  return ExitCode::kDone;
}

struct FleetOptions {
  std::string worker, reason;
  bool trust = false;
};

absl::StatusOr<ExitCode> Control(const Cli& cli, const FleetOptions& options,
                                 v1::ControlWorkerRequest::Action action, const std::string& done) {
  ASSIGN_OR_RETURN(const Coordinator coordinator, ConnectToCoordinatorOf(cli));
  v1::ControlWorkerRequest request;
  request.set_worker(options.worker);
  request.set_action(action);
  request.set_reason(options.reason);
  v1::ControlWorkerResponse response;
  const auto context = Coordinator::Context();
  RETURN_IF_ERROR(
      coordinator.StatusOf(coordinator.stub->ControlWorker(context.get(), request, &response)));
  for (const std::string& worker : response.workers()) {
    PrintMessage(absl::StrCat("worker ", worker, " ", done));
  }
  for (const std::string& node : response.nodes()) {
    PrintMessage(absl::StrCat("machine ", node, " is ",
                              action == v1::ControlWorkerRequest::TRUST ? "trusted" : "forgiven"));
  }
  if (response.workers_size() + response.nodes_size() == 0) PrintMessage("nothing to change");
  return ExitCode::kDone;
}

CLI::App* AddControl(CLI::App& worker, Cli& cli, const std::string& name, const std::string& what,
                     const std::string& examples, FleetOptions& options, CommandBody body) {
  CLI::App* command = cli.AddCommand(worker, name, what, examples, std::move(body));
  command
      ->add_option("WORKER", options.worker,
                   "Name or number of a worker, name of a machine (all its workers), or all")
      ->required();
  command->add_option("--reason", options.reason, "Shown wherever somebody asks why");
  cli.AddCoordinator(command);
  cli.AddDatabase(command);
  return command;
}

}  // namespace

void AddWorkerControlCommands(CLI::App& worker, Cli& cli) {
  CLI::App* list = cli.AddCommand(worker, "list", "List the workers of a coordinator",
                                  "saffron worker list\nsaffron worker list --output json",
                                  [&cli] { return List(cli); });
  cli.AddCoordinator(list);
  cli.AddDatabase(list);
  cli.AddOutput(list);

  auto drain = std::make_shared<FleetOptions>();
  AddControl(worker, cli, "drain",
             "Let a worker finish what it has, give it nothing new, and let it leave",
             "saffron worker drain node7 --reason 'reboot at noon'\nsaffron worker drain 12",
             *drain, [&cli, drain] {
               return Control(cli, *drain, v1::ControlWorkerRequest::DRAIN,
                              "takes nothing new and leaves when it is done");
             });

  auto release = std::make_shared<FleetOptions>();
  CLI::App* command = AddControl(
      worker, cli, "release", "Give a drained worker or a quarantined machine work again",
      "saffron worker release node7\nsaffron worker release node7 --trust", *release,
      [&cli, release] {
        return Control(
            cli, *release,
            release->trust ? v1::ControlWorkerRequest::TRUST : v1::ControlWorkerRequest::RELEASE,
            "gets work again");
      });
  command->add_flag("--trust", release->trust,
                    "Never quarantine the machine again, whatever fails there");
}

}  // namespace saffron
