// `saffron cancel` and `saffron resume`.

#include <iostream>
#include <memory>
#include <string>
#include <variant>
#include <vector>

#include "absl/strings/str_cat.h"
#include "coordinator/cli/command.h"
#include "coordinator/cli/connect.h"
#include "coordinator/report/listing.h"
#include "coordinator/report/number_format.h"
#include "coordinator/report/read_source.h"
#include "coordinator/report/study.h"
#include "coordinator/report/table.h"
#include "core/base/status_macros.h"

namespace saffron {
namespace {

struct ControlOptions {
  std::string roadmap;
  std::string trials;  // IdSelector; empty: all
  std::string reason;
};

// The roadmap's trials that the selector matches.
absl::StatusOr<std::vector<int64_t>> SelectTrials(ReadSource& source,
                                                  const ControlOptions& options) {
  ASSIGN_OR_RETURN(const IdSelector selector, IdSelector::Parse(options.trials));
  ASSIGN_OR_RETURN(const RoadmapName roadmap, FindRoadmap(source, options.roadmap));
  ASSIGN_OR_RETURN(
      const ResultTable table,
      source.Query(absl::StrCat("SELECT rt.trial FROM roadmaps r JOIN roadmap_trials rt ON "
                                "rt.roadmap = r.id AND rt.revision = r.revision WHERE r.id = ",
                                roadmap.id, " AND ", selector.Sql("rt.trial"), " ORDER BY 1")));
  if (table.rows.empty()) {
    return absl::NotFoundError(
        absl::StrCat("no trial of roadmap ", roadmap.name, " matches '", options.trials, "'"));
  }
  std::vector<int64_t> trials;
  for (const auto& row : table.rows) trials.push_back(std::get<int64_t>(row[0]));
  return trials;
}

using Call = grpc::Status (v1::RoadmapService::Stub::*)(grpc::ClientContext*,
                                                        const v1::ControlRequest&,
                                                        v1::ControlResponse*);

absl::StatusOr<ExitCode> Control(Cli& cli, const ControlOptions& options, Call call,
                                 const std::string& done) {
  ASSIGN_OR_RETURN(const Coordinator coordinator, ConnectToCoordinatorOf(cli));
  cli.coordinator = coordinator.address;
  v1::ControlRequest request;
  request.set_roadmap(options.roadmap);
  request.set_reason(options.reason);
  if (!options.trials.empty()) {
    ASSIGN_OR_RETURN(const std::unique_ptr<ReadSource> source, OpenSource(cli));
    ASSIGN_OR_RETURN(const std::vector<int64_t> trials, SelectTrials(*source, options));
    request.mutable_trial_ids()->Assign(trials.begin(), trials.end());
  }
  v1::ControlResponse response;
  const auto context = Coordinator::Context();
  RETURN_IF_ERROR(
      coordinator.StatusOf((coordinator.stub.get()->*call)(context.get(), request, &response)));
  if (cli.output == OutputMode::kTable) {
    PrintMessage(absl::StrCat(Plural(response.trials_changed(), "trial"), " ", done));
  } else {
    PrintResult({.columns = {"trials_changed"}, .rows = {{response.trials_changed()}}},
                {.mode = cli.output}, std::cout);
  }
  return ExitCode::kDone;
}

CLI::App* AddControl(CLI::App& app, Cli& cli, const std::string& name, const std::string& what,
                     const std::string& examples, Call call, const std::string& done) {
  auto options = std::make_shared<ControlOptions>();
  options->reason = absl::StrCat("saffron ", name);
  CLI::App* command = cli.AddCommand(app, name, what, examples, [&cli, options, call, done] {
    return Control(cli, *options, call, done);
  });
  command->add_option("ROADMAP", options->roadmap, "Name, id or 'last'")->required();
  command->add_option("--trials", options->trials, "Only these, such as 7 or 1-10:2,15")
      ->type_name("IDS");
  command->add_option("--reason", options->reason, "Kept with the trials' history")
      ->capture_default_str();
  cli.AddCoordinator(command);
  cli.AddDatabase(command);
  cli.AddOutput(command);
  return command;
}

}  // namespace

void AddCancelCommand(CLI::App& app, Cli& cli) {
  AddControl(app, cli, "cancel",
             "Cancel queued and running trials; finished ones keep their results",
             "saffron cancel my_sweep\nsaffron cancel last --trials 10-20",
             &v1::RoadmapService::Stub::Cancel, "cancelled");
}

void AddResumeCommand(CLI::App& app, Cli& cli) {
  AddControl(app, cli, "resume", "Queue cancelled and failed trials again",
             "saffron resume my_sweep\nsaffron resume last --trials 7",
             &v1::RoadmapService::Stub::Resume, "queued again");
}

}  // namespace saffron
