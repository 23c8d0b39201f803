// `saffron events`: what happened, in order, and as it happens.

#include <algorithm>
#include <iostream>
#include <memory>
#include <sstream>
#include <string>
#include <variant>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/time/clock.h"
#include "coordinator/cli/command.h"
#include "coordinator/cli/connect.h"
#include "coordinator/cli/printing.h"
#include "coordinator/cli/roadmap_selection.h"
#include "coordinator/report/listing.h"
#include "coordinator/report/read_source.h"
#include "coordinator/report/table.h"
#include "core/base/status_macros.h"

namespace saffron {
namespace {

constexpr absl::Duration kLookAgain = absl::Milliseconds(500);

struct EventOptions {
  std::vector<std::string> roadmaps;
  std::string trials;  // IdSelector
  std::vector<std::string> kinds;
  int64_t limit = 50;
  bool follow = false;
};

absl::StatusOr<std::string> ConditionsOf(ReadSource& source, const EventOptions& options) {
  std::vector<std::string> conditions = {"1"};
  if (!options.roadmaps.empty()) {
    ASSIGN_OR_RETURN(const std::vector<RoadmapName> roadmaps,
                     SelectRoadmaps(source, options.roadmaps));
    std::vector<int64_t> ids;
    for (const RoadmapName& roadmap : roadmaps) ids.push_back(roadmap.id);
    const std::string list = absl::StrJoin(ids, ", ");
    conditions.push_back(absl::StrCat("(e.roadmap IN (", list,
                                      ") OR e.trial IN (SELECT trial FROM roadmap_trials WHERE "
                                      "roadmap IN (",
                                      list, ")))"));
  }
  if (!options.trials.empty()) {
    ASSIGN_OR_RETURN(const IdSelector selector, IdSelector::Parse(options.trials));
    conditions.push_back("e.trial IS NOT NULL");
    conditions.push_back(selector.Sql("e.trial"));
  }
  if (!options.kinds.empty()) {
    std::vector<std::string> kinds;
    for (const std::string& kind : options.kinds) kinds.push_back(SqlText(kind));
    conditions.push_back(absl::StrCat("e.kind IN (", absl::StrJoin(kinds, ", "), ")"));
  }
  return absl::StrJoin(conditions, " AND ");
}

std::string EventQuery(const std::string& where, int64_t after, const std::string& order) {
  return absl::StrCat(
      "SELECT e.id AS event, strftime('%Y-%m-%dT%H:%M:%fZ', e.at_us / 1e6, 'unixepoch') AS at, "
      "e.kind AS kind, r.name AS roadmap, e.trial AS trial, e.attempt AS attempt, "
      "w.name AS worker, e.reason AS reason FROM events e LEFT JOIN workers w ON w.id = e.worker "
      "LEFT JOIN roadmaps r ON r.id = e.roadmap WHERE e.id > ",
      after, " AND ", where, " ORDER BY e.id ", order);
}

// One event a line, whatever its neighbours: a table cannot be aligned before it has ended.
void PrintLine(const std::vector<Cell>& row, OutputMode mode,
               const std::vector<std::string>& columns) {
  if (mode == OutputMode::kTable) {
    const auto text = [&](int i) {
      const auto* t = std::get_if<std::string>(&row[i]);
      return t == nullptr ? "" : *t;
    };
    std::string line = absl::StrCat(text(1), "  ", text(2));
    if (!text(3).empty()) absl::StrAppend(&line, "  roadmap ", text(3));
    if (const auto* trial = std::get_if<int64_t>(&row[4])) {
      absl::StrAppend(&line, "  trial ", *trial);
      if (const auto* n = std::get_if<int64_t>(&row[5])) absl::StrAppend(&line, ".", *n);
    }
    if (!text(6).empty()) absl::StrAppend(&line, "  ", text(6));
    if (!text(7).empty()) absl::StrAppend(&line, "  ", text(7));
    std::cout << line << "\n";
    return;
  }
  ResultTable one{.columns = columns, .rows = {row}};
  std::ostringstream text;
  PrintResult(one, {.mode = mode}, text);
  std::string lines = text.str();
  if (mode == OutputMode::kCsv) lines.erase(0, lines.find('\n') + 1);
  std::cout << lines;
}

absl::StatusOr<ExitCode> Follow(ReadSource& source, const Cli& cli, const std::string& where,
                                int64_t last) {
  while (true) {
    std::cout.flush();
    if (!std::cout) return ExitCode::kDone;  // nobody reads any more
    absl::SleepFor(kLookAgain);
    ASSIGN_OR_RETURN(const ResultTable news, source.Query(EventQuery(where, last, "LIMIT 10000")));
    for (const auto& row : news.rows) {
      PrintLine(row, cli.output, news.columns);
      last = std::get<int64_t>(row[0]);
    }
  }
}

absl::StatusOr<ExitCode> Events(Cli& cli, const EventOptions& options) {
  ASSIGN_OR_RETURN(const std::unique_ptr<ReadSource> source, OpenSource(cli));
  ASSIGN_OR_RETURN(const std::string where, ConditionsOf(*source, options));
  ASSIGN_OR_RETURN(ResultTable table,
                   source->Query(EventQuery(where, 0, absl::StrCat("DESC LIMIT ", options.limit))));
  std::reverse(table.rows.begin(), table.rows.end());
  if (cli.output == OutputMode::kJson && !options.follow) {
    PrintToStdout(cli, table);
    return ExitCode::kDone;
  }
  if (cli.output == OutputMode::kCsv) {
    PrintResult({.columns = table.columns, .rows = {}}, {.mode = cli.output}, std::cout);
  }
  for (const auto& row : table.rows) PrintLine(row, cli.output, table.columns);
  if (!options.follow) return ExitCode::kDone;
  // What came in between is not lost: ids only grow.
  int64_t last = 0;
  if (!table.rows.empty()) last = std::get<int64_t>(table.rows.back()[0]);
  return Follow(*source, cli, where, last);
}

}  // namespace

void AddEventsCommand(CLI::App& app, Cli& cli) {
  auto options = std::make_shared<EventOptions>();
  CLI::App* command = cli.AddCommand(
      app, "events", "Say what happened: every transition of every trial, with its reason",
      "saffron events\nsaffron events last --follow\n"
      "saffron events --trials 42 --output json\nsaffron events --kind node_quarantined,lost",
      [&cli, options] { return Events(cli, *options); });
  command->add_option("ROADMAP", options->roadmaps,
                      "Only of these: name, id, last, all, or ids such as 1-3");
  command->add_option("--trials", options->trials, "Only of these trials, such as 7 or 1-10:2,15")
      ->type_name("IDS");
  command->add_option("--kind", options->kinds, "Only of these kinds: queued, leased, failed, ...")
      ->type_name("A,B,...")
      ->delimiter(',');
  command->add_option("--limit", options->limit, "So many of the newest")
      ->type_name("N")
      ->check(CLI::Range(int64_t{1}, int64_t{1} << 40))
      ->capture_default_str();
  command->add_flag("-f,--follow", options->follow, "Go on as things happen, until interrupted");
  cli.AddDatabase(command);
  cli.AddCoordinator(command);
  cli.AddOutput(command);
}

}  // namespace saffron
