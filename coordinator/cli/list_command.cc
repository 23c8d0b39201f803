// `saffron list`: roadmaps; or the trials or variants of some.

#include <iostream>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "coordinator/cli/command.h"
#include "coordinator/cli/connect.h"
#include "coordinator/cli/printing.h"
#include "coordinator/cli/roadmap_selection.h"
#include "coordinator/report/listing.h"
#include "coordinator/report/study.h"
#include "core/base/status_macros.h"

namespace saffron {
namespace {

struct ListOptions {
  std::vector<std::string> roadmaps;
  bool variants = false;
  std::string ids;
  std::vector<std::string> filters, columns;
  std::string sort;
  int64_t limit = 0;
};

constexpr char kRoadmaps[] =
    "SELECT r.name AS roadmap, r.id AS id, r.revision AS revision, "
    "(SELECT count(*) FROM roadmap_variants x WHERE x.roadmap = r.id AND x.revision = r.revision) "
    "AS variants, count(t.id) AS trials, coalesce(sum(t.state = 'succeeded'), 0) AS succeeded, "
    "coalesce(sum(t.state = 'diverged'), 0) AS diverged, "
    "coalesce(sum(t.state = 'failed'), 0) AS failed, "
    "coalesce(sum(t.state = 'leased'), 0) AS running, "
    "coalesce(sum(t.state = 'queued'), 0) AS queued, v.metric AS metric, "
    "strftime('%Y-%m-%dT%H:%M:%SZ', v.submitted_us / 1e6, 'unixepoch') AS submitted "
    "FROM roadmaps r JOIN revisions v ON v.roadmap = r.id AND v.revision = r.revision "
    "LEFT JOIN roadmap_trials rt ON rt.roadmap = r.id AND rt.revision = r.revision "
    "LEFT JOIN trials t ON t.id = rt.trial GROUP BY r.id ORDER BY v.submitted_us, r.id";

// What the roadmaps are judged by, and its test counterpart: columns worth a look by default.
absl::StatusOr<std::vector<std::string>> MetricColumns(ReadSource& source,
                                                       const std::vector<int64_t>& roadmaps) {
  ASSIGN_OR_RETURN(
      const ResultTable metrics,
      source.Query(absl::StrCat("SELECT DISTINCT v.metric FROM roadmaps r JOIN revisions v ON "
                                "v.roadmap = r.id AND v.revision = r.revision WHERE v.metric <> '' "
                                "AND r.id IN (",
                                absl::StrJoin(roadmaps, ", "), ") ORDER BY 1")));
  std::vector<std::string> columns;
  for (const auto& row : metrics.rows) {
    const std::string metric = std::get<std::string>(row[0]);
    columns.push_back(metric);
    if (absl::StartsWith(metric, "valid/")) columns.push_back("test/" + metric.substr(6));
  }
  return columns;
}

absl::StatusOr<ExitCode> ListRoadmaps(Cli& cli, ReadSource& source) {
  ASSIGN_OR_RETURN(const ResultTable table, source.Query(kRoadmaps));
  if (table.rows.empty()) {
    return absl::NotFoundError(absl::StrCat(source.Where(), ": no roadmap has been submitted yet"));
  }
  PrintToStdout(cli, table);
  return ExitCode::kDone;
}

absl::StatusOr<ExitCode> List(Cli& cli, const ListOptions& options) {
  ASSIGN_OR_RETURN(const std::unique_ptr<ReadSource> source, OpenSource(cli));
  if (options.roadmaps.empty()) return ListRoadmaps(cli, *source);
  ListRequest request{
      .what = options.variants ? ListRequest::What::kVariants : ListRequest::What::kTrials,
      .roadmaps = {},
      .columns = options.columns,
      .filters = options.filters,
      .sort = options.sort,
      .limit = options.limit,
      .ids = options.ids};
  ASSIGN_OR_RETURN(const std::vector<RoadmapName> roadmaps,
                   SelectRoadmaps(*source, options.roadmaps));
  for (const RoadmapName& roadmap : roadmaps) request.roadmaps.push_back(roadmap.id);
  if (request.columns.empty()) {
    ASSIGN_OR_RETURN(const auto metrics, MetricColumns(*source, request.roadmaps));
    request.columns = options.variants
                          ? std::vector<std::string>{"variant", "digest", "block", "succeeded"}
                          : std::vector<std::string>{"trial", "seed", "state", "block"};
    request.columns.insert(request.columns.end(), metrics.begin(), metrics.end());
    request.columns.insert(request.columns.end(), {"model/parameters", "time/total_s", "label"});
    if (request.roadmaps.size() > 1) request.columns.push_back("roadmap");
  }
  ASSIGN_OR_RETURN(const std::string sql, ListQuery(request));
  ASSIGN_OR_RETURN(const ResultTable table, source->Query(sql));
  if (table.rows.empty() && !(options.filters.empty() && options.ids.empty())) {
    PrintMessage(absl::StrCat("no ", options.variants ? "variant" : "trial", " matches"));
    if (cli.output != OutputMode::kTable) PrintToStdout(cli, table);  // programs read "[]"
    return ExitCode::kNothingMatched;
  }
  PrintToStdout(cli, table);
  return ExitCode::kDone;
}

}  // namespace

void AddListCommand(CLI::App& app, Cli& cli) {
  auto options = std::make_shared<ListOptions>();
  CLI::App* command = cli.AddCommand(
      app, "list", "List roadmaps, or the trials or variants of some",
      "saffron list\n"
      "saffron list last --sort test/perplexity --limit 20\n"
      "saffron list last --variants --filter model.bits=64 --filter 'test/perplexity<110'\n"
      "saffron list saffu-roadmap --filter state=failed --columns trial,failure_class,message\n"
      "saffron list all --trials 1-99:2 --output csv",
      [&cli, options] { return List(cli, *options); });
  command->add_option(
      "ROADMAP", options->roadmaps,
      "Name or id of a roadmap, last, all, or ids such as 1-3 (default: list roadmaps)");
  command->add_flag("--variants", options->variants,
                    "Variants instead of trials, means over seeds");
  command
      ->add_option("--trials", options->ids,
                   "Only these: all, or ids such as 7 or 1-10:2,15 (with --variants: of variants)")
      ->type_name("IDS");
  command
      ->add_option(
          "--filter", options->filters,
          "Only rows where COLUMN=VALUE (or != < <= > >=); a column is a key, a metric, state, "
          "block, ...; may be repeated, all must hold")
      ->type_name("CONDITION")
      ->allow_extra_args(false);
  command->add_option("--columns", options->columns, "What to print: keys, metrics, label, ...")
      ->type_name("A,B,...")
      ->delimiter(',');
  command->add_option("--sort", options->sort, "Sort by a column; -COLUMN for descending")
      ->type_name("COLUMN");
  command->add_option("--limit", options->limit, "At most so many rows")
      ->type_name("N")
      ->check(CLI::Range(int64_t{0}, int64_t{1} << 53));
  cli.AddDatabase(command);
  cli.AddCoordinator(command);
  cli.AddOutput(command);
}

}  // namespace saffron
