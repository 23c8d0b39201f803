// `saffron logs`: one trial's history: who ran it, what it measured, how it ended.

#include <iostream>
#include <memory>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "coordinator/cli/command.h"
#include "coordinator/cli/connect.h"
#include "coordinator/report/number_format.h"
#include "coordinator/report/read_source.h"
#include "core/base/status_macros.h"

namespace saffron {
namespace {

constexpr absl::Duration kLookAgain = absl::Milliseconds(500);

class Log {
 public:
  Log(ReadSource* source, int64_t trial) : source_(source), trial_(trial) {}

  // Prints what is new. The state comes first: what it says has ended has been written whole.
  // Answers whether more may come.
  absl::StatusOr<bool> Print() {
    ASSIGN_OR_RETURN(const ResultTable state,
                     source_->Query(absl::StrCat("SELECT state FROM trials WHERE id = ", trial_)));
    if (state.rows.empty()) {
      return absl::NotFoundError(absl::StrCat("there is no trial ", trial_, " in ",
                                              source_->Where(),
                                              "; 'saffron list last' shows the trials there are"));
    }
    const std::string name = FormatCell(state.rows[0][0]);
    const bool open = name == "queued" || name == "leased";
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

absl::StatusOr<ExitCode> Logs(const Cli& cli, int64_t trial, bool follow) {
  ASSIGN_OR_RETURN(const std::unique_ptr<ReadSource> source, OpenSource(cli));
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
      "saffron logs 42\nsaffron logs 42 --follow",
      [&cli, options] { return Logs(cli, options->trial, options->follow); });
  command->add_option("TRIAL", options->trial, "Number of the trial")->required();
  command->add_flag("-f,--follow", options->follow, "Go on as things happen, until it has ended");
  cli.AddDatabase(command);
  cli.AddCoordinator(command);
}

}  // namespace saffron
