// `saffron query`: read-only SQL on the results.

#include <iostream>
#include <iterator>
#include <memory>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "coordinator/cli/command.h"
#include "coordinator/cli/connect.h"
#include "coordinator/cli/printing.h"
#include "core/base/status_macros.h"

namespace saffron {
namespace {

struct QueryOptions {
  std::string sql, time_limit = "30s";
};

absl::StatusOr<ExitCode> Query(Cli& cli, const QueryOptions& options) {
  absl::Duration limit;
  if (!absl::ParseDuration(options.time_limit, &limit) || limit <= absl::ZeroDuration()) {
    return absl::InvalidArgumentError(absl::StrCat(
        "--time-limit: want a duration such as 500ms, 30s or 2m, got '", options.time_limit, "'"));
  }
  std::string sql = options.sql;
  if (sql == "-") sql.assign(std::istreambuf_iterator<char>(std::cin), {});
  ASSIGN_OR_RETURN(const std::unique_ptr<ReadSource> source, OpenSource(cli));
  ASSIGN_OR_RETURN(const ResultTable table, source->Query(sql, limit));
  PrintToStdout(cli, table);
  return ExitCode::kDone;
}

}  // namespace

void AddQueryCommand(CLI::App& app, Cli& cli) {
  auto options = std::make_shared<QueryOptions>();
  CLI::App* command =
      cli.AddCommand(app, "query", "Ask the results database in SQL; nothing can be changed",
                     "saffron query \"SELECT label, mean FROM v_variants WHERE metric = "
                     "'test/perplexity' ORDER BY "
                     "mean LIMIT 10\"\n"
                     "saffron query \"SELECT name FROM pragma_table_info('v_trials')\"\n"
                     "saffron query - --output csv < question.sql",
                     [&cli, options] { return Query(cli, *options); });
  command
      ->add_option("SQL", options->sql,
                   "One statement; - reads it from standard input. In JSON a second column named n "
                   "is n:1; name it yourself with AS")
      ->required();
  command->add_option("--time-limit", options->time_limit, "Longest it may take")
      ->type_name("DURATION")
      ->capture_default_str();
  cli.AddDatabase(command);
  cli.AddCoordinator(command);
  cli.AddOutput(command);
}

}  // namespace saffron
