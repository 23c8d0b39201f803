#include <fcntl.h>
#include <unistd.h>

#include <string>

#include "coordinator/cli/command.h"
#include "coordinator/cli/program.h"

namespace {

// A standard stream that the caller closed must not become a database or a socket.
void KeepStandardStreams() {
  for (int fd = 0; fd <= 2; ++fd) {
    if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", O_RDWR) != fd) _exit(1);
  }
}

}  // namespace

int main(int argc, char** argv) {
  KeepStandardStreams();
  CLI::App app(
      "Saffron runs architecture ablations: one sweep file, hundreds of variants, one table.",
      "saffron");
  app.set_version_flag("--version", std::string("saffron ") + saffron::kVersion);
  app.require_subcommand(0, 1);
  app.footer(
      "Example:\n  saffron run sweeps/quickstart.yaml\n\n"
      "'saffron COMMAND --help' explains a command. Exit codes: 0 done, 1 internal error, 2 usage "
      "or\n"
      "invalid file, 3 finished but some trials failed, 4 nothing matched, 5 coordinator\n"
      "unreachable, 6 refused, 130 and 143 interrupted.");
  saffron::Cli cli;
  saffron::AddRunCommand(app, cli);
  saffron::AddPlanCommand(app, cli);
  saffron::AddServeCommand(app, cli);
  saffron::AddWorkerCommand(app, cli);
  saffron::AddSubmitCommand(app, cli);
  saffron::AddWaitCommand(app, cli);
  saffron::AddCancelCommand(app, cli);
  saffron::AddPauseCommand(app, cli);
  saffron::AddResumeCommand(app, cli);
  saffron::AddRetryCommand(app, cli);
  saffron::AddPriorityCommand(app, cli);
  saffron::AddStatusCommand(app, cli);
  saffron::AddTopCommand(app, cli);
  saffron::AddExplainCommand(app, cli);
  saffron::AddEventsCommand(app, cli);
  saffron::AddLogsCommand(app, cli);
  saffron::AddListCommand(app, cli);
  saffron::AddShowCommand(app, cli);
  saffron::AddDiffCommand(app, cli);
  saffron::AddQueryCommand(app, cli);
  saffron::AddReportCommand(app, cli);
  saffron::AddReplayCommand(app, cli);
  saffron::AddModelCommand(app, cli);
  saffron::AddReferenceCommand(app, cli);
  saffron::AddBackupCommand(app, cli);
  saffron::AddCheckCommand(app, cli);
  saffron::AddDataCommand(app, cli);
  return cli.Main(app, argc, argv);
}
