// `saffron status`: how far a roadmap is. From its coordinator when one runs, else from the
// database.

#include <iostream>
#include <memory>
#include <optional>
#include <string>
#include <variant>

#include "absl/strings/str_cat.h"
#include "coordinator/cli/command.h"
#include "coordinator/cli/connect.h"
#include "coordinator/cli/roadmap_watch.h"
#include "coordinator/cli/views.h"
#include "coordinator/report/read_source.h"
#include "coordinator/report/study.h"
#include "core/base/status_macros.h"

namespace saffron {
namespace {

absl::StatusOr<v1::RoadmapStatus> AskCoordinator(const Cli& cli, const std::string& roadmap) {
  ASSIGN_OR_RETURN(const Coordinator coordinator, ConnectToCoordinatorOf(cli));
  return CurrentStatus(coordinator, roadmap);
}

// Trials in each state, and their estimated cost.
absl::Status ReadStates(ReadSource& source, int64_t roadmap, v1::RoadmapStatus* status) {
  ASSIGN_OR_RETURN(
      const ResultTable states,
      source.Query(absl::StrCat(
          "SELECT t.state, count(*), sum(v.seconds) FROM roadmaps r "
          "JOIN roadmap_trials rt ON rt.roadmap = r.id AND rt.revision = r.revision "
          "JOIN trials t ON t.id = rt.trial JOIN variants v ON v.id = t.variant WHERE r.id = ",
          roadmap, " GROUP BY 1")));
  for (const auto& row : states.rows) {
    const std::string& state = std::get<std::string>(row[0]);
    const int64_t n = std::get<int64_t>(row[1]);
    const double seconds = std::get<double>(row[2]);
    status->set_total(status->total() + n);
    status->set_cost_total(status->cost_total() + seconds);
    // Without a coordinator nothing runs: what was running goes on when there is one.
    if (state == "queued" || state == "leased") {
      status->set_queued(status->queued() + n);
      continue;
    }
    status->set_cost_done(status->cost_done() + seconds);
    if (state == "succeeded") status->set_succeeded(n);
    if (state == "diverged") status->set_diverged(n);
    if (state == "pruned") status->set_pruned(n);
    if (state == "failed") status->set_failed(n);
    if (state == "cancelled") status->set_cancelled(n);
  }
  return absl::OkStatus();
}

absl::Status ReadBest(ReadSource& source, int64_t roadmap, bool maximize,
                      v1::RoadmapStatus* status) {
  ASSIGN_OR_RETURN(const ResultTable best,
                   source.Query(absl::StrCat(
                       "SELECT trial, value, label FROM v_results WHERE roadmap_id = ", roadmap,
                       " AND metric = ", SqlText(status->metric()),
                       " AND kind = 0 AND state = 'succeeded' ORDER BY value ",
                       maximize ? "DESC" : "ASC", ", trial LIMIT 1")));
  if (best.rows.empty()) return absl::OkStatus();
  status->set_has_best(true);
  status->set_best_trial(std::get<int64_t>(best.rows[0][0]));
  status->set_best_value(std::get<double>(best.rows[0][1]));
  status->set_best_label(std::get<std::string>(best.rows[0][2]));
  return absl::OkStatus();
}

absl::StatusOr<v1::RoadmapStatus> ReadDatabase(const Cli& cli, const std::string& given) {
  ASSIGN_OR_RETURN(const std::unique_ptr<ReadSource> source, OpenSource(cli));
  ASSIGN_OR_RETURN(const RoadmapName roadmap, FindRoadmap(*source, given));
  ASSIGN_OR_RETURN(const ResultTable revision,
                   source->Query(absl::StrCat(
                       "SELECT r.revision, v.metric, v.goal, r.priority, r.paused FROM roadmaps r "
                       "JOIN revisions v "
                       "ON v.roadmap = r.id AND v.revision = r.revision WHERE r.id = ",
                       roadmap.id)));
  v1::RoadmapStatus status;
  status.set_roadmap_id(roadmap.id);
  status.set_name(roadmap.name);
  status.set_revision(static_cast<int32_t>(std::get<int64_t>(revision.rows[0][0])));
  status.set_metric(std::get<std::string>(revision.rows[0][1]));
  status.set_priority(std::get<double>(revision.rows[0][3]));
  if (const auto* reason = std::get_if<std::string>(&revision.rows[0][4])) {
    status.set_roadmap_paused(true);
    status.set_roadmap_paused_reason(*reason);
  }
  const bool maximize = std::get<std::string>(revision.rows[0][2]) == "maximize";
  RETURN_IF_ERROR(ReadStates(*source, roadmap.id, &status));
  RETURN_IF_ERROR(ReadBest(*source, roadmap.id, maximize, &status));
  ASSIGN_OR_RETURN(
      const ResultTable failure,
      source->Query(absl::StrCat(
          "SELECT t.message FROM roadmaps r JOIN roadmap_trials rt ON rt.roadmap = r.id AND "
          "rt.revision = r.revision JOIN trials t ON t.id = rt.trial WHERE r.id = ",
          roadmap.id, " AND t.state = 'failed' ORDER BY t.ended_us DESC LIMIT 1")));
  if (!failure.rows.empty()) status.set_last_failure(std::get<std::string>(failure.rows[0][0]));
  return status;
}

absl::StatusOr<ExitCode> Status(const Cli& cli, const std::string& roadmap) {
  const bool live = !cli.coordinator.empty() || ServingAddress(cli.database).has_value();
  ASSIGN_OR_RETURN(const v1::RoadmapStatus status,
                   live ? AskCoordinator(cli, roadmap) : ReadDatabase(cli, roadmap));
  PrintStatus(status, cli.output, std::cout);
  if (!live && status.queued() > 0 && cli.output == OutputMode::kTable) {
    PrintMessage(absl::StrCat("no coordinator is serving ", cli.database,
                              "; 'saffron run' or 'saffron serve' goes on with it"));
  }
  return ExitCode::kDone;
}

}  // namespace

void AddStatusCommand(CLI::App& app, Cli& cli) {
  auto roadmap = std::make_shared<std::string>("last");
  CLI::App* command =
      cli.AddCommand(app, "status", "Say how far a roadmap is",
                     "saffron status\nsaffron status my_sweep --coordinator 127.0.0.1:7411",
                     [&cli, roadmap] { return Status(cli, *roadmap); });
  command->add_option("ROADMAP", *roadmap, "Name, id or 'last'")->capture_default_str();
  cli.AddCoordinator(command);
  cli.AddDatabase(command);
  cli.AddOutput(command);
}

}  // namespace saffron
