// `saffron logs`: one trial's history: who ran it, what it measured, how it ended.

#include <iostream>
#include <memory>
#include <string>
#include <variant>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "coordinator/cli/command.h"
#include "coordinator/cli/connect.h"
#include "coordinator/report/json.h"
#include "coordinator/report/number_format.h"
#include "coordinator/report/read_source.h"
#include "coordinator/report/table.h"
#include "core/base/status_macros.h"

namespace saffron {
namespace {

constexpr absl::Duration kLookAgain = absl::Milliseconds(500);

absl::StatusOr<std::string> StateOf(ReadSource& source, int64_t trial) {
  ASSIGN_OR_RETURN(const ResultTable state,
                   source.Query(absl::StrCat("SELECT state FROM trials WHERE id = ", trial)));
  if (!state.rows.empty()) return FormatCell(state.rows[0][0]);
  return absl::NotFoundError(absl::StrCat("there is no trial ", trial, " in ", source.Where(),
                                          "; 'saffron list last' shows the trials there are"));
}

bool IsOpen(const std::string& state) { return state == "queued" || state == "leased"; }

class Log {
 public:
  Log(ReadSource* source, int64_t trial) : source_(source), trial_(trial) {}

  // Prints what is new. The state comes first: what it says has ended has been written whole.
  // Answers whether more may come.
  absl::StatusOr<bool> Print() {
    ASSIGN_OR_RETURN(const std::string state, StateOf(*source_, trial_));
    const bool open = IsOpen(state);
    // A learning curve belongs between an attempt's beginning and its end.
    RETURN_IF_ERROR(PrintEvents(/*beginnings=*/true));
    RETURN_IF_ERROR(PrintCurve());
    RETURN_IF_ERROR(PrintEvents(/*beginnings=*/false));
    if (!open) RETURN_IF_ERROR(PrintResults());
    return open;
  }

 private:
  // Those before the trial's newest attempt began, or all.
  absl::Status PrintEvents(bool beginnings) {
    ASSIGN_OR_RETURN(
        const ResultTable events,
        source_->Query(absl::StrCat(
            "SELECT e.id, strftime('%Y-%m-%dT%H:%M:%fZ', e.at_us / 1e6, 'unixepoch'), e.kind, "
            "e.attempt, w.name, e.reason FROM events e LEFT JOIN workers w ON w.id = e.worker "
            "WHERE e.trial = ",
            trial_, " AND e.id > ", event_,
            beginnings ? absl::StrCat(" AND e.id <= coalesce((SELECT max(id) FROM events WHERE "
                                      "trial = ",
                                      trial_, " AND kind IN ('leased', 'recovered')), 0)")
                       : "",
            " ORDER BY e.id")));
    for (const auto& row : events.rows) {
      event_ = std::get<int64_t>(row[0]);
      std::string line = absl::StrCat(FormatCell(row[1]), "  ", FormatCell(row[2]));
      if (const int64_t* attempt = std::get_if<int64_t>(&row[3])) {
        absl::StrAppend(&line, "  attempt ", *attempt);
      }
      for (int i : {4, 5}) {
        if (const std::string text = FormatCell(row[i]); !text.empty()) {
          absl::StrAppend(&line, "  ", text);
        }
      }
      std::cout << line << "\n";
    }
    return absl::OkStatus();
  }

  // A line for every step: its metrics side by side.
  absl::Status PrintCurve() {
    ASSIGN_OR_RETURN(const ResultTable points,
                     source_->Query(absl::StrCat(
                         "SELECT step, key, CASE kind WHEN 0 THEN value WHEN 1 THEN 'nan' WHEN 2 "
                         "THEN 'inf' ELSE '-inf' END FROM metrics WHERE trial = ",
                         trial_, " AND step > ", step_, " ORDER BY step, key")));
    bool begun = false;
    for (const auto& row : points.rows) {
      const int64_t step = std::get<int64_t>(row[0]);
      if (step != step_ || !begun) {
        std::cout << (begun ? "\n" : "") << "  step " << step;
        step_ = step;
        begun = true;
      }
      std::cout << "  " << FormatCell(row[1]) << " " << FormatCell(row[2]);
    }
    if (begun) std::cout << "\n";
    return absl::OkStatus();
  }

  absl::Status PrintResults() {
    ASSIGN_OR_RETURN(const ResultTable results,
                     source_->Query(absl::StrCat(
                         "SELECT key, CASE kind WHEN 0 THEN value WHEN 1 THEN 'nan' WHEN 2 THEN "
                         "'inf' ELSE '-inf' END FROM results WHERE trial = ",
                         trial_, " ORDER BY key")));
    for (const auto& row : results.rows) {
      std::cout << "  " << FormatCell(row[0]) << " " << FormatCell(row[1]) << "\n";
    }
    return absl::OkStatus();
  }

  ReadSource* const source_;
  const int64_t trial_;
  int64_t event_ = 0, step_ = -1;
};

// The measurements of a trial as rows of step, metric and value; final ones have no step.
absl::StatusOr<ResultTable> ReadMeasurements(ReadSource& source, int64_t trial) {
  const std::string value =
      "CASE kind WHEN 0 THEN value WHEN 1 THEN 'nan' WHEN 2 THEN 'inf' ELSE '-inf' END AS value";
  return source.Query(
      absl::StrCat("SELECT * FROM (SELECT step, key AS metric, ", value,
                   " FROM metrics WHERE trial = ", trial, " UNION ALL SELECT NULL, key, ", value,
                   " FROM results WHERE trial = ", trial, ") ORDER BY step IS NULL, step, metric"));
}

absl::StatusOr<nlohmann::ordered_json> LogJson(ReadSource& source, int64_t trial,
                                               const std::string& state) {
  nlohmann::ordered_json json = {{"trial", trial}, {"state", state}};
  json["events"] = nlohmann::ordered_json::array();
  ASSIGN_OR_RETURN(
      const ResultTable events,
      source.Query(absl::StrCat(
          "SELECT strftime('%Y-%m-%dT%H:%M:%fZ', e.at_us / 1e6, 'unixepoch') AS at, e.kind AS "
          "kind, e.attempt AS attempt, w.name AS worker, e.reason AS reason FROM events e LEFT "
          "JOIN workers w ON w.id = e.worker WHERE e.trial = ",
          trial, " ORDER BY e.id")));
  for (const auto& row : events.rows) {
    nlohmann::ordered_json event;
    for (size_t i = 0; i < row.size(); ++i) event[events.columns[i]] = CellJson(row[i]);
    json["events"].push_back(std::move(event));
  }
  json["curve"] = nlohmann::ordered_json::array();
  json["results"] = nlohmann::ordered_json::object();
  ASSIGN_OR_RETURN(const ResultTable measured, ReadMeasurements(source, trial));
  for (const auto& row : measured.rows) {
    const std::string& metric = std::get<std::string>(row[1]);
    if (std::holds_alternative<std::monostate>(row[0])) {
      json["results"][metric] = CellJson(row[2]);
      continue;
    }
    auto& curve = json["curve"];
    if (curve.empty() || curve.back()["step"] != CellJson(row[0])) {
      curve.push_back({{"step", CellJson(row[0])}});
    }
    curve.back()[metric] = CellJson(row[2]);
  }
  return json;
}

// For programs: all of it, once; with `follow`, once the trial has ended.
absl::StatusOr<ExitCode> LogsForPrograms(const Cli& cli, ReadSource& source, int64_t trial,
                                         bool follow) {
  while (true) {
    ASSIGN_OR_RETURN(const std::string state, StateOf(source, trial));
    if (follow && IsOpen(state)) {
      absl::SleepFor(kLookAgain);
      continue;
    }
    if (cli.output == OutputMode::kQuiet) {
      std::cout << state << "\n";
    } else if (cli.output == OutputMode::kCsv) {
      ASSIGN_OR_RETURN(const ResultTable measured, ReadMeasurements(source, trial));
      PrintResult(measured, {.mode = cli.output}, std::cout);
    } else {
      ASSIGN_OR_RETURN(const auto json, LogJson(source, trial, state));
      std::cout << JsonText(json, 1) << "\n";
    }
    return ExitCode::kDone;
  }
}

absl::StatusOr<ExitCode> Logs(const Cli& cli, int64_t trial, bool follow) {
  ASSIGN_OR_RETURN(const std::unique_ptr<ReadSource> source, OpenSource(cli));
  if (cli.output != OutputMode::kTable) return LogsForPrograms(cli, *source, trial, follow);
  Log log(source.get(), trial);
  while (true) {
    ASSIGN_OR_RETURN(const bool more, log.Print());
    std::cout.flush();
    if (!follow || !more || !std::cout) return ExitCode::kDone;
    absl::SleepFor(kLookAgain);
  }
}

}  // namespace

void AddLogsCommand(CLI::App& app, Cli& cli) {
  struct Options {
    int64_t trial = 0;
    bool follow = false;
  };
  auto options = std::make_shared<Options>();
  CLI::App* command = cli.AddCommand(
      app, "logs", "Print a trial's history: its attempts, what it measured, how it ended",
      "saffron logs 42\nsaffron logs 42 --follow\n"
      "saffron logs 42 --output csv   # what it measured: step, metric, value",
      [&cli, options] { return Logs(cli, options->trial, options->follow); });
  command->add_option("TRIAL", options->trial, "Number of the trial")->required();
  command->add_flag("-f,--follow", options->follow, "Go on as things happen, until it has ended");
  cli.AddDatabase(command);
  cli.AddCoordinator(command);
  cli.AddOutput(command);
}

}  // namespace saffron
