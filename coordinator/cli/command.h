#pragma once
// The convention for commands. Each command is one file, NAME_command.cc, with one function
// declared below and called in main.cc (an explicit list: self-registration is lost in a static
// library):
//
//   void AddListCommand(CLI::App& app, Cli& cli) {
//     struct Options { std::string selector = "last"; };
//     auto options = std::make_shared<Options>();
//     CLI::App* command = cli.AddCommand(app, "list", "List the trials of a roadmap",
//                                        "saffron list last --output csv",
//                                        [&cli, options] { return List(cli, options->selector); });
//     command->add_option("SELECTOR", options->selector, "…")->capture_default_str();
//     cli.AddDatabase(command);
//     cli.AddOutput(command);
//   }
//
// The body runs after parsing and returns an exit code, or a status that ExitCodeOf maps and main
// prints to stderr as `saffron: …`. Data goes to stdout, messages to stderr.

#include <functional>
#include <string>

#include "CLI/CLI.hpp"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "coordinator/report/output_mode.h"

namespace saffron {

enum class ExitCode : int {
  kDone = 0,
  kInternal = 1,
  kUsage = 2,           // wrong usage, or an invalid file; for plan --detailed-exitcode: changes
  kSomeFailed = 3,      // finished, some trials failed
  kNothingMatched = 4,  // no such roadmap, trial, corpus or row
  kUnreachable = 5,     // coordinator
  kRefused = 6,         // authentication
  kInterrupted = 130,   // SIGINT
  kTerminated = 143,    // SIGTERM
};

// The one place where statuses become exit codes. INVALID_ARGUMENT, FAILED_PRECONDITION,
// ALREADY_EXISTS, OUT_OF_RANGE and DEADLINE_EXCEEDED (of a query's own limit): usage; NOT_FOUND:
// nothing matched; UNAVAILABLE: unreachable; UNAUTHENTICATED and PERMISSION_DENIED: refused;
// CANCELLED: interrupted; the rest: internal.
ExitCode ExitCodeOf(const absl::Status& status);

inline constexpr char kDefaultDatabase[] = "saffron.db";

using CommandBody = std::function<absl::StatusOr<ExitCode>()>;

// What commands share: the values of the common options, and the body to run once parsed. Lives as
// long as the CLI::App. Not thread-safe.
class Cli {
 public:
  // From the environment; then by parsing, for the commands that asked for the option.
  OutputMode output = OutputMode::kTable;
  std::string database;
  std::string coordinator;  // HOST:PORT; empty when not given
  std::string data_root;
  bool log_json = false;
  bool allow_network_filesystem = false;

  Cli();

  // Adds a subcommand whose --help ends with `examples` (whole command lines, one a line). A
  // command that only groups others (`data`) has a null body; one that does something by itself and
  // has subcommands too (`worker`) runs its body where none of them is named.
  CLI::App* AddCommand(CLI::App& app, const std::string& name, const std::string& description,
                       const std::string& examples, CommandBody body);

  // --db FILE, SAFFRON_DB, default ./saffron.db.
  void AddDatabase(CLI::App* command);
  // --coordinator HOST:PORT, SAFFRON_COORDINATOR, no default.
  void AddCoordinator(CLI::App* command);
  // --data DIR, SAFFRON_DATA, default DataStore::DefaultRoot().
  void AddData(CLI::App* command);
  // --log-format text|json: how PrintMessage prints from then on.
  void AddLogFormat(CLI::App* command);
  // --allow-network-filesystem: see store/filesystem.h.
  void AddNetworkFilesystem(CLI::App* command);
  // --output table|json|csv|quiet, SAFFRON_OUTPUT, default table.
  void AddOutput(CLI::App* command);

  // Parses and runs; prints errors; returns the process's exit code.
  int Main(CLI::App& app, int argc, char** argv);

 private:
  // SAFFRON_OUTPUT, where the command prints data and --output was not given.
  absl::Status ReadOutputMode(const CLI::App& command);

  CommandBody body_;
};

// Whether escape codes may be written to `fd`: a terminal, TERM is not "dumb", NO_COLOR not set.
bool UseColour(int fd);

// Prints `saffron: MESSAGE` to stderr; or, after SetLogFormat(true), a line of JSON: {"time": ISO
// 8601 UTC, "message": ...}. Thread-safe.
void SetLogFormat(bool json);
void PrintMessage(const std::string& message);

// Processes: coordinator, workers, and both at once.
void AddRunCommand(CLI::App& app, Cli& cli);
void AddServeCommand(CLI::App& app, Cli& cli);
void AddWorkerCommand(CLI::App& app, Cli& cli);
void AddWorkerControlCommands(CLI::App& worker, Cli& cli);  // below `worker`
// Control.
void AddPlanCommand(CLI::App& app, Cli& cli);
void AddSubmitCommand(CLI::App& app, Cli& cli);
void AddWaitCommand(CLI::App& app, Cli& cli);
void AddCancelCommand(CLI::App& app, Cli& cli);
void AddPauseCommand(CLI::App& app, Cli& cli);
void AddResumeCommand(CLI::App& app, Cli& cli);
void AddRetryCommand(CLI::App& app, Cli& cli);
void AddPriorityCommand(CLI::App& app, Cli& cli);
// Looking.
void AddStatusCommand(CLI::App& app, Cli& cli);
void AddTopCommand(CLI::App& app, Cli& cli);
void AddExplainCommand(CLI::App& app, Cli& cli);
void AddEventsCommand(CLI::App& app, Cli& cli);
void AddLogsCommand(CLI::App& app, Cli& cli);
void AddListCommand(CLI::App& app, Cli& cli);
void AddShowCommand(CLI::App& app, Cli& cli);
void AddDiffCommand(CLI::App& app, Cli& cli);
void AddQueryCommand(CLI::App& app, Cli& cli);
void AddReportCommand(CLI::App& app, Cli& cli);
void AddReplayCommand(CLI::App& app, Cli& cli);
void AddModelCommand(CLI::App& app, Cli& cli);
void AddModelDerive(CLI::App& model, Cli& cli);  // of `model`
void AddModelFuse(CLI::App& model, Cli& cli);    // likewise
void AddReferenceCommand(CLI::App& app, Cli& cli);
// The database.
void AddBackupCommand(CLI::App& app, Cli& cli);
void AddCheckCommand(CLI::App& app, Cli& cli);
// Corpora.
void AddDataCommand(CLI::App& app, Cli& cli);

}  // namespace saffron
