// `saffron wait`: until every trial of a roadmap has ended.

#include <unistd.h>

#include <iostream>
#include <memory>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "coordinator/cli/command.h"
#include "coordinator/cli/connect.h"
#include "coordinator/cli/progress.h"
#include "coordinator/cli/roadmap_watch.h"
#include "coordinator/cli/views.h"
#include "core/base/status_macros.h"

namespace saffron {
namespace {

// A coordinator that went away is waited for so long: somebody will start it again, or not.
constexpr absl::Duration kBackWithin = absl::Minutes(10);
constexpr absl::Duration kAskAgainAfter = absl::Seconds(1);

// Follows one connection to its end. A state that was seen before a coordinator went away is not
// lost: the next connection starts with the present one.
absl::Status Follow(const Coordinator& coordinator, const std::string& roadmap, Progress& progress,
                    v1::RoadmapStatus* status) {
  RoadmapWatch watch(coordinator.stub.get(), roadmap);
  for (;;) {
    if (const auto ended = watch.ended(); ended.has_value()) return coordinator.StatusOf(*ended);
    if (auto newer = watch.Next(absl::Milliseconds(200)); newer.has_value()) {
      *status = *std::move(newer);
      progress.Update(*status, absl::Now());
    }
    progress.Tick(absl::Now());
  }
}

absl::StatusOr<ExitCode> Wait(const Cli& cli, const std::string& roadmap) {
  ASSIGN_OR_RETURN(Coordinator coordinator, ConnectToCoordinatorOf(cli));
  Progress progress(STDERR_FILENO);
  v1::RoadmapStatus status;
  for (;;) {
    // "last" means what it meant at first.
    const std::string name = status.name().empty() ? roadmap : status.name();
    const absl::Status followed = Follow(coordinator, name, progress, &status);
    if (followed.ok()) break;
    if (!absl::IsUnavailable(followed) || status.name().empty()) return followed;
    progress.Message(absl::StrCat(followed.message(), "; waiting for it to come back"));
    absl::SleepFor(kAskAgainAfter);
    ASSIGN_OR_RETURN(coordinator, ConnectToCoordinatorOf(cli, kBackWithin));
  }
  progress.Finish(absl::Now());
  PrintStatus(status, cli.output, std::cout);
  return status.failed() > 0 ? ExitCode::kSomeFailed : ExitCode::kDone;
}

}  // namespace

void AddWaitCommand(CLI::App& app, Cli& cli) {
  auto roadmap = std::make_shared<std::string>("last");
  CLI::App* command =
      cli.AddCommand(app, "wait", "Wait until every trial of a roadmap has ended",
                     "saffron wait last --coordinator 127.0.0.1:7411 && saffron report",
                     [&cli, roadmap] { return Wait(cli, *roadmap); });
  command->add_option("ROADMAP", *roadmap, "Name, id or 'last'")->capture_default_str();
  cli.AddCoordinator(command);
  cli.AddDatabase(command);
  cli.AddOutput(command);
}

}  // namespace saffron
