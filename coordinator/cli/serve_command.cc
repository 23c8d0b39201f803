// `saffron serve`: the coordinator of one database, until it is told to stop.

#include <limits.h>
#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <cstring>
#include <memory>
#include <string>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/notification.h"
#include "coordinator/cli/checkpoint_options.h"
#include "coordinator/cli/command.h"
#include "coordinator/cli/connect.h"
#include "coordinator/cli/event_log.h"
#include "coordinator/cli/signals.h"
#include "coordinator/rpc/coordinator_server.h"
#include "core/base/status_macros.h"

namespace saffron {
namespace {

struct ServeOptions {
  std::string listen = kDefaultAddress;
  double lease_s = 30;
  KeptFiles files;
  std::string metrics;
};

// `address` as another machine would say it: one that stands for every interface is nobody's name.
std::string ReachableAddress(const std::string& address) {
  char host[HOST_NAME_MAX + 1] = {};
  for (const char* any : {"0.0.0.0:", "[::]:"}) {
    if (absl::StartsWith(address, any) && gethostname(host, sizeof(host) - 1) == 0) {
      return absl::StrCat(host, ":", address.substr(std::strlen(any)));
    }
  }
  return address;
}

// Of "HOST:PORT".
std::string MetricsHost(const std::string& address) {
  return address.substr(0, address.rfind(':'));
}

absl::StatusOr<ExitCode> Serve(const Cli& cli, const ServeOptions& options) {
  BlockTermination();
  ASSIGN_OR_RETURN(const int64_t budget, options.files.Budget());
  ASSIGN_OR_RETURN(
      const std::unique_ptr<CoordinatorServer> server,
      CoordinatorServer::Start({.db_path = cli.database,
                                .listen = options.listen,
                                .data_root = cli.data_root,
                                .lease = absl::Seconds(options.lease_s),
                                .artifact_bytes_max = budget,
                                .keep_checkpoints = options.files.keep,
                                .metrics = options.metrics,
                                .allow_network_filesystem = cli.allow_network_filesystem}));
  const AddressFile address(cli.database, server->address());
  std::printf("%s\n", server->address().c_str());
  std::fflush(stdout);
  PrintMessage(absl::StrCat("serving ", cli.database, " at ", server->address(),
                            "; workers: saffron worker --coordinator ",
                            ReachableAddress(server->address())));
  if (server->metrics_port() != 0) {
    PrintMessage(absl::StrCat("metrics at http://", MetricsHost(options.metrics), ":",
                              server->metrics_port(), "/metrics"));
  }
  std::unique_ptr<EventLog> log;
  if (cli.log_json) log = std::make_unique<EventLog>(cli.database);

  std::atomic<int> signalled = 0;
  absl::Notification stop;
  {
    const SignalWatcher watcher([&](int signal, int n) {
      if (n > 1) _exit(static_cast<int>(ExitCodeOfSignal(signal)));
      signalled = signal;
      stop.Notify();
    });
    stop.WaitForNotification();
    PrintMessage("stopping; workers train on and will find the next coordinator of this database");
    server->Shutdown();
  }
  return ExitCodeOfSignal(signalled);
}

}  // namespace

void AddServeCommand(CLI::App& app, Cli& cli) {
  auto options = std::make_shared<ServeOptions>();
  CLI::App* command =
      cli.AddCommand(app, "serve", "Run the coordinator: hand out trials, record results",
                     "saffron serve --db results.db\n"
                     "saffron serve --db results.db --listen 0.0.0.0:7411\n"
                     "saffron serve --metrics 127.0.0.1:9464 --log-format json 2>serve.log",
                     [&cli, options] { return Serve(cli, *options); });
  command
      ->add_option("--listen", options->listen,
                   "Address to serve at; port 0 takes any free one. Others can reach it only where "
                   "the host part lets them")
      ->type_name("HOST:PORT")
      ->capture_default_str();
  command
      ->add_option("--lease", options->lease_s,
                   "Silence after which a worker is taken to be lost and its trials run again")
      ->type_name("SECONDS")
      ->check(CLI::Range(0.1, 86'400.0))
      ->capture_default_str();
  options->files.AddOptions(command);
  command
      ->add_option("--metrics", options->metrics,
                   "Serve Prometheus metrics over HTTP at this address; port 0 takes any free one")
      ->type_name("HOST:PORT");
  cli.AddLogFormat(command);
  cli.AddDatabase(command);
  cli.AddNetworkFilesystem(command);
  cli.AddData(command);
}

}  // namespace saffron
