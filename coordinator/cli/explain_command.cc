// `saffron explain`: why a trial is where it is. From its coordinator when one runs, else from the
// history in the database.

#include <iostream>
#include <memory>
#include <string>
#include <variant>

#include "absl/strings/str_cat.h"
#include "coordinator/cli/command.h"
#include "coordinator/cli/connect.h"
#include "coordinator/cli/views.h"
#include "coordinator/report/read_source.h"
#include "core/base/status_macros.h"

namespace saffron {
namespace {

absl::StatusOr<v1::ExplainResponse> AskCoordinator(const Cli& cli, int64_t trial) {
  ASSIGN_OR_RETURN(const Coordinator coordinator, ConnectToCoordinatorOf(cli));
  v1::ExplainRequest request;
  request.set_trial_id(trial);
  v1::ExplainResponse response;
  const auto context = Coordinator::Context();
  RETURN_IF_ERROR(
      coordinator.StatusOf(coordinator.stub->Explain(context.get(), request, &response)));
  return response;
}

std::string Text(const Cell& cell) {
  const std::string* text = std::get_if<std::string>(&cell);
  return text == nullptr ? "" : *text;
}

absl::StatusOr<v1::ExplainResponse> ReadDatabase(const Cli& cli, int64_t trial) {
  ASSIGN_OR_RETURN(const std::unique_ptr<ReadSource> source, OpenSource(cli));
  ASSIGN_OR_RETURN(const ResultTable found,
                   source->Query(absl::StrCat("SELECT state, message, failure_class FROM trials "
                                              "WHERE id = ",
                                              trial)));
  if (found.rows.empty()) {
    return absl::NotFoundError(absl::StrCat("there is no trial ", trial, " in ", source->Where(),
                                            "; 'saffron list last' shows the trials there are"));
  }
  v1::ExplainResponse response;
  const std::string state = Text(found.rows[0][0]), message = Text(found.rows[0][1]);
  const bool open = state == "queued" || state == "leased";
  response.set_state(open ? "queued" : state);
  if (open) {
    response.add_reasons(absl::StrCat("No coordinator is serving ", cli.database,
                                      ": it goes on with 'saffron run' or 'saffron serve'."));
  }
  if (!message.empty()) response.add_reasons(message);
  ASSIGN_OR_RETURN(
      const ResultTable events,
      source->Query(absl::StrCat(
          "SELECT strftime('%Y-%m-%dT%H:%M:%SZ', e.at_us / 1e6, 'unixepoch'), e.kind, e.attempt, "
          "w.name, e.reason FROM events e LEFT JOIN workers w ON w.id = e.worker WHERE e.trial = ",
          trial, " ORDER BY e.id DESC LIMIT 20")));
  for (const auto& row : events.rows) {
    std::string line = absl::StrCat(Text(row[0]), " ", Text(row[1]));
    if (const int64_t* attempt = std::get_if<int64_t>(&row[2])) {
      absl::StrAppend(&line, ", attempt ", *attempt);
    }
    if (!Text(row[3]).empty()) absl::StrAppend(&line, ", worker ", Text(row[3]));
    if (!Text(row[4]).empty()) absl::StrAppend(&line, ": ", Text(row[4]));
    response.add_reasons(line);
  }
  return response;
}

absl::StatusOr<ExitCode> Explain(const Cli& cli, int64_t trial) {
  const bool live = !cli.coordinator.empty() || ServingAddress(cli.database).has_value();
  ASSIGN_OR_RETURN(const v1::ExplainResponse response,
                   live ? AskCoordinator(cli, trial) : ReadDatabase(cli, trial));
  PrintExplanation(trial, response, cli.output, std::cout);
  return ExitCode::kDone;
}

}  // namespace

void AddExplainCommand(CLI::App& app, Cli& cli) {
  auto trial = std::make_shared<int64_t>(0);
  CLI::App* command =
      cli.AddCommand(app, "explain", "Say why a trial is pending, was run again, failed, ...",
                     "saffron explain 42", [&cli, trial] { return Explain(cli, *trial); });
  command->add_option("TRIAL", *trial, "Number of the trial")->required();
  cli.AddCoordinator(command);
  cli.AddDatabase(command);
  cli.AddOutput(command);
}

}  // namespace saffron
