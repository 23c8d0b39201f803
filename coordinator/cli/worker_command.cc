// `saffron worker`: trains what a coordinator hands out; and `saffron worker-slot`, the process
// behind each of its slots.

#include <signal.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <atomic>
#include <memory>
#include <string>

#include "absl/strings/str_cat.h"
#include "coordinator/cli/checkpoint_options.h"
#include "coordinator/cli/command.h"
#include "coordinator/cli/connect.h"
#include "coordinator/cli/program.h"
#include "coordinator/cli/signals.h"
#include "core/base/status_macros.h"
#include "worker/spool.h"
#include "worker/trainer_slot.h"
#include "worker/worker.h"

namespace saffron {
namespace {

struct WorkerOptions {
  int slots = 1;
  std::string spool_dir = Spool::DefaultDir();
  double checkpoint_every_s = 120;
  pid_t managed_by = 0;
};

// A worker of `saffron run` ends with it, however that ends.
void EndWith(pid_t parent) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (getppid() != parent) _exit(static_cast<int>(ExitCode::kTerminated));
}

absl::StatusOr<ExitCode> Work(const Cli& cli, const WorkerOptions& options) {
  const bool managed = options.managed_by != 0;
  if (managed) EndWith(options.managed_by);
  BlockTermination(managed ? Interrupts::kIgnore : Interrupts::kHandle);
  BlockPreemption();
  const std::string address = cli.coordinator.empty() ? kDefaultAddress : cli.coordinator;
  Worker worker({.channel = ConnectToCoordinator(address),
                 .address = address,
                 .slots = options.slots,
                 .slot = {.argv = {ProgramPath(), "worker-slot", "--data", cli.data_root}},
                 .data_root = cli.data_root,
                 .spool_dir = options.spool_dir,
                 .checkpoint_every_s = options.checkpoint_every_s,
                 .build = kVersion,
                 .quiet = managed,
                 .log = PrintMessage});
  std::atomic<int> signalled = 0;
  int heard = 0;
  absl::Status status;
  {
    const SignalWatcher watcher([&](int signal, int) {
      // The terminal's Ctrl-C reaches the whole group, but is for `saffron run` to interpret.
      // (Setting it to be ignored would not do: Linux keeps blocked signals pending all the same.)
      if (options.managed_by != 0 && signal == SIGINT) return;
      if (++heard > 1) _exit(static_cast<int>(ExitCodeOfSignal(signal)));
      signalled = signal;
      if (!managed) {
        PrintMessage("leaving: handing back what is running (again: at once)");
      }
      worker.Leave();
    });
    status = worker.Run();
  }
  RETURN_IF_ERROR(status);
  if (signalled == 0) {
    PrintMessage("drained: leaving with nothing in hand");
    return ExitCode::kDone;
  }
  return ExitCodeOfSignal(signalled);
}

}  // namespace

void AddWorkerCommand(CLI::App& app, Cli& cli) {
  auto options = std::make_shared<WorkerOptions>();
  CLI::App* command = cli.AddCommand(app, "worker", "Train what a coordinator hands out",
                                     "saffron worker --coordinator 127.0.0.1:7411 --slots 2\n"
                                     "saffron worker list",
                                     [&cli, options] { return Work(cli, *options); });
  cli.AddCoordinator(command);
  command->add_option("--slots", options->slots, "Trials trained at the same time, one core each")
      ->type_name("N")
      ->check(CLI::Range(1, 1024))
      ->capture_default_str();
  command
      ->add_option("--spool", options->spool_dir,
                   "Where results are kept until the coordinator has them")
      ->type_name("DIR")
      ->capture_default_str();
  AddCheckpointEvery(command, &options->checkpoint_every_s);
  command->add_option("--managed-by", options->managed_by)->group("");
  cli.AddLogFormat(command);
  cli.AddData(command);
  command->require_subcommand(0, 1);
  AddWorkerControlCommands(*command, cli);

  CLI::App* slot = cli.AddCommand(app, "worker-slot", "", "", [&cli]() -> absl::StatusOr<ExitCode> {
    ServeTrainerSlot(3, cli.data_root);
  });
  slot->group("");
  cli.AddData(slot);
}

}  // namespace saffron
