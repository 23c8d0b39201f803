// `saffron run`: a coordinator in this process, workers as children, and the report at the end.

#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <iostream>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "coordinator/cli/checkpoint_options.h"
#include "coordinator/cli/command.h"
#include "coordinator/cli/connect.h"
#include "coordinator/cli/local_plan.h"
#include "coordinator/cli/local_workers.h"
#include "coordinator/cli/printing.h"
#include "coordinator/cli/program.h"
#include "coordinator/cli/progress.h"
#include "coordinator/cli/roadmap_watch.h"
#include "coordinator/cli/signals.h"
#include "coordinator/cli/sweep_input.h"
#include "coordinator/cli/views.h"
#include "coordinator/report/run_report.h"
#include "coordinator/rpc/coordinator_server.h"
#include "core/base/status_macros.h"

namespace saffron {
namespace {

// Workers on this machine answer within milliseconds; one that is silent for so long is lost.
constexpr absl::Duration kLocalLease = absl::Seconds(10);
// Hand-backs wait for the current optimisation step, at most a few seconds.
constexpr absl::Duration kStopWithin = absl::Seconds(12);
constexpr int kFailuresShown = 5, kChangesShown = 5;

struct RunOptions {
  SweepInput sweep;
  int workers = 0;  // 0: one a core
  int slots = 1;
  double checkpoint_every_s = 120;
  KeptFiles files;
};

int Cores() {
  cpu_set_t set;
  return sched_getaffinity(0, sizeof(set), &set) == 0 ? std::max(1, CPU_COUNT(&set)) : 1;
}

// One run, from submission to the last trial.
class Run {
 public:
  Run(const Cli& cli, const RunOptions& options) : cli_(cli), options_(options) {}

  absl::StatusOr<ExitCode> Go() {
    ASSIGN_OR_RETURN(const v1::SweepSpec spec, options_.sweep.Read());
    // All that can be wrong with the sweep is found before there is a database.
    RETURN_IF_ERROR(PrepareLocally(spec, cli_.data_root).status());
    BlockTermination();
    const SignalWatcher watcher([this](int signal, int n) { OnSignal(signal, n); });
    ASSIGN_OR_RETURN(const int64_t budget, options_.files.Budget());
    auto server =
        CoordinatorServer::Start({.db_path = cli_.database,
                                  .data_root = cli_.data_root,
                                  .lease = kLocalLease,
                                  .artifact_bytes_max = budget,
                                  .keep_checkpoints = options_.files.keep,
                                  .allow_network_filesystem = cli_.allow_network_filesystem});
    if (!server.ok() && ServingAddress(cli_.database).has_value()) {
      return absl::FailedPreconditionError(absl::StrCat(
          server.status().message(), "; to hand it this sweep: ", CommandLine("submit")));
    }
    RETURN_IF_ERROR(server.status());
    server_ = *std::move(server);
    stub_ = v1::RoadmapService::NewStub(server_->InProcessChannel());
    {
      const AddressFile address(cli_.database, server_->address());
      RETURN_IF_ERROR(Submit(spec));
      RETURN_IF_ERROR(Train());
      server_->Shutdown();
    }
    return Conclude();
  }

 private:
  // On the signals' thread.
  void OnSignal(int signal, int n) {
    signalled_ = signal;
    if (n > 1) hurry_ = true;
  }

  absl::Status Submit(const v1::SweepSpec& spec) {
    v1::SubmitRequest request;
    *request.mutable_spec() = spec;
    const auto context = Coordinator::Context(absl::InfiniteDuration());
    RETURN_IF_ERROR(StatusFromGrpc(stub_->Submit(context.get(), request, &submitted_)));
    for (const std::string& note : submitted_.plan().notes()) {
      PrintMessage(absl::StrCat("note: ", note));
    }
    // What was paused, cancelled or failed in an earlier run is tried again.
    v1::PauseRequest go_on;
    go_on.set_roadmap(submitted_.name());
    go_on.set_reason("run again");
    v1::PauseResponse unpaused;
    const auto pause_context = Coordinator::Context();
    RETURN_IF_ERROR(StatusFromGrpc(stub_->Pause(pause_context.get(), go_on, &unpaused)));
    v1::ControlRequest again;
    again.set_roadmap(submitted_.name());
    again.set_reason("run again");
    v1::ControlResponse resumed;
    const auto resume_context = Coordinator::Context();
    RETURN_IF_ERROR(StatusFromGrpc(stub_->Resume(resume_context.get(), again, &resumed)));
    PrintMessage(absl::StrCat("roadmap ", submitted_.name(), ", revision ", submitted_.revision(),
                              ": ", PlanSummary(submitted_.plan()),
                              resumed.trials_changed() > 0
                                  ? absl::StrCat(", ", resumed.trials_changed(), " tried again")
                                  : ""));
    for (const std::string& line : PlanChanges(submitted_.plan(), kChangesShown)) {
      PrintMessage(line);
    }
    return absl::OkStatus();
  }

  std::vector<std::string> WorkerArgv() const {
    return {ProgramPath(),
            "worker",
            "--coordinator",
            server_->address(),
            "--slots",
            absl::StrCat(options_.slots),
            "--checkpoint-every",
            absl::StrCat(options_.checkpoint_every_s),
            "--data",
            cli_.data_root,
            "--managed-by",
            absl::StrCat(getpid())};
  }

  absl::Status Train() {
    Progress progress(STDERR_FILENO);
    int failures_shown = 0;
    LocalWorkers workers(WorkerArgv(), [&](const std::string& line) {
      if (line.find(" failed: ") != std::string::npos && ++failures_shown > kFailuresShown) return;
      progress.Message(line);
    });
    RoadmapWatch watch(stub_.get(), submitted_.name());
    bool started = false;
    while (signalled_ == 0 && !watch.ended().has_value()) {
      if (auto status = watch.Next(absl::Milliseconds(50)); status.has_value()) {
        status_ = *std::move(status);
        progress.Update(status_, absl::Now());
      }
      if (!started && Finished(status_) < status_.total()) {
        const int64_t open = status_.total() - Finished(status_);
        const int wanted = options_.workers > 0 ? options_.workers : Cores();
        RETURN_IF_ERROR(workers.Start(static_cast<int>(std::min<int64_t>(wanted, open))));
        started = true;
      }
      RETURN_IF_ERROR(workers.Poll(absl::Now()));
      if (IsStuck(status_)) {
        stuck_ = status_.missing_corpora();
        break;
      }
      if (started) progress.Tick(absl::Now());
    }
    if (signalled_ != 0) {
      progress.Message("stopping: handing back what is running (again: at once)");
    } else if (stuck_.empty()) {
      RETURN_IF_ERROR(StatusFromGrpc(*watch.ended()));
    }
    workers.Stop(kStopWithin, hurry_);
    // What was handed in while stopping counts.
    while (auto status = watch.Next(absl::Milliseconds(signalled_ != 0 ? 300 : 0))) {
      status_ = *std::move(status);
      progress.Update(status_, absl::Now());
    }
    if (started) progress.Finish(absl::Now());
    return absl::OkStatus();
  }

  // `command` with this sweep and database.
  std::string CommandLine(const std::string& command) const {
    std::string line =
        absl::StrCat(ProgramAsCalled(), " ", command, " ", options_.sweep.CommandLine());
    if (const std::string flags = PlaceFlags(cli_); !flags.empty())
      absl::StrAppend(&line, " ", flags);
    return line;
  }

  // Whether all that is left reads corpora that are gone: all workers look into the same folder.
  static bool IsStuck(const v1::RoadmapStatus& status) {
    return status.without_corpus() > 0 && status.running() == 0 &&
           status.without_corpus() + status.waiting() == status.queued();
  }

  absl::StatusOr<ExitCode> Conclude() {
    if (!stuck_.empty() && signalled_ == 0) {
      return absl::FailedPreconditionError(
          absl::StrCat(stuck_, ". ", Finished(status_), " of ", status_.total(),
                       " trials are done. To go on with it: ", CommandLine("run")));
    }
    if (signalled_ != 0 && Finished(status_) < status_.total()) {
      PrintMessage(
          absl::StrCat("interrupted with ", Finished(status_), " of ", status_.total(),
                       " trials done; nothing of them is lost. To go on: ", CommandLine("run")));
      return ExitCodeOfSignal(signalled_);
    }
    if (cli_.output != OutputMode::kTable) {
      PrintStatus(status_, cli_.output, std::cout);
    } else {
      ASSIGN_OR_RETURN(const std::unique_ptr<ReadSource> source,
                       OpenLocalSource(cli_.database, PlaceFlags(cli_)));
      RETURN_IF_ERROR(PrintRunReport(*source, submitted_.name(),
                                     {.width = TerminalWidth(),
                                      .cut = TableWidth() > 0,
                                      .colour = UseColour(STDOUT_FILENO),
                                      .program = ProgramAsCalled()},
                                     std::cout));
    }
    if (status_.failed() == 0) return ExitCode::kDone;
    PrintMessage(absl::StrCat(status_.failed(), " of ", status_.total(),
                              " trials failed; the last: ", status_.last_failure(),
                              "\nsaffron: to try them again: ", CommandLine("run")));
    return ExitCode::kSomeFailed;
  }

  const Cli& cli_;
  const RunOptions& options_;
  std::atomic<int> signalled_ = 0;
  std::atomic<bool> hurry_ = false;
  std::unique_ptr<CoordinatorServer> server_;
  std::unique_ptr<v1::RoadmapService::Stub> stub_;
  v1::SubmitResponse submitted_;
  v1::RoadmapStatus status_;
  std::string stuck_;  // why nothing can go on
};

}  // namespace

void AddRunCommand(CLI::App& app, Cli& cli) {
  auto options = std::make_shared<RunOptions>();
  CLI::App* command = cli.AddCommand(
      app, "run", "Run a sweep on this machine, from start or where it stopped, and report",
      "saffron run sweeps/quickstart.yaml\n"
      "saffron run sweeps/saffu_roadmap.yaml --db results.db --workers 8 --set tokens=100000",
      [&cli, options] { return Run(cli, *options).Go(); });
  options->sweep.AddOptions(command);
  command->add_option("--workers", options->workers, "Worker processes (default: one a core)")
      ->type_name("N")
      ->check(CLI::Range(1, 4096));
  command->add_option("--slots", options->slots, "Trials at the same time in each worker")
      ->type_name("N")
      ->check(CLI::Range(1, 1024))
      ->capture_default_str();
  AddCheckpointEvery(command, &options->checkpoint_every_s);
  options->files.AddOptions(command);
  cli.AddDatabase(command);
  cli.AddNetworkFilesystem(command);
  cli.AddData(command);
  cli.AddOutput(command);
}

}  // namespace saffron
