// `saffron backup` and `saffron check`: looking after a results database, also while it is served.

#include <unistd.h>

#include <cstdio>
#include <iostream>
#include <memory>
#include <string>

#include "absl/strings/str_cat.h"
#include "coordinator/cli/command.h"
#include "coordinator/cli/printing.h"
#include "coordinator/report/number_format.h"
#include "coordinator/report/table.h"
#include "coordinator/store/backup.h"
#include "coordinator/store/filesystem.h"
#include "coordinator/store/integrity.h"
#include "coordinator/store/schema.h"
#include "coordinator/sweep/quantities.h"
#include "core/base/status_macros.h"

namespace saffron {
namespace {

struct BackupCommandOptions {
  std::string to;
  bool force = false;
};

absl::StatusOr<ExitCode> Backup(const Cli& cli, const BackupCommandOptions& options) {
  BackupOptions backup{.from = cli.database, .to = options.to, .overwrite = options.force};
  const bool terminal = isatty(STDERR_FILENO) != 0;
  if (terminal) {
    backup.on_progress = [](int64_t done, int64_t all) {
      std::fprintf(stderr, "\r%3d %%", all > 0 ? static_cast<int>(100 * done / all) : 100);
    };
  }
  const absl::StatusOr<int64_t> bytes = BackupDatabase(backup);
  if (terminal) std::fprintf(stderr, "\r      \r");
  if (!bytes.ok()) return bytes.status();
  if (cli.output == OutputMode::kTable) {
    PrintMessage(absl::StrCat("copied ", cli.database, " to ", options.to, ": ",
                              FormatCount(static_cast<double>(*bytes)), " bytes, checked"));
  } else {
    PrintToStdout(cli, {.columns = {"file", "bytes"}, .rows = {{options.to, *bytes}}});
  }
  return ExitCode::kDone;
}

absl::StatusOr<ExitCode> Check(const Cli& cli, bool quick) {
  ASSIGN_OR_RETURN(const bool is_there, FindDatabaseFile(cli.database));
  if (!is_there) {
    return absl::NotFoundError(absl::StrCat(cli.database, ": there is no such database"));
  }
  ASSIGN_OR_RETURN(Database db, Database::Open(cli.database, Database::Mode::kReadOnly));
  RETURN_IF_ERROR(CheckReadable(db, cli.database));
  ASSIGN_OR_RETURN(const IntegrityReport report, CheckIntegrity(db, !quick));
  if (cli.output != OutputMode::kTable) {
    ResultTable table{.columns = {"problem"}, .rows = {}};
    for (const std::string& problem : report.problems) table.rows.push_back({problem});
    PrintToStdout(cli, table);
  } else {
    for (const std::string& problem : report.problems) std::cout << problem << "\n";
  }
  PrintMessage(absl::StrCat(
      cli.database, ": ",
      report.problems.empty() ? "whole" : Plural(std::ssize(report.problems), "problem"), " (",
      Plural(report.rules, "rule"), " over ", Plural(report.trials, "trial"), ", ",
      Plural(report.attempts, "attempt"), ", ", Plural(report.events, "event"), " and ",
      Plural(report.metrics, "measurement"), quick ? "" : ", and every page", ")"));
  return report.problems.empty() ? ExitCode::kDone : ExitCode::kInternal;
}

}  // namespace

void AddBackupCommand(CLI::App& app, Cli& cli) {
  auto options = std::make_shared<BackupCommandOptions>();
  CLI::App* command =
      cli.AddCommand(app, "backup", "Copy the results database, also while a coordinator writes it",
                     "saffron backup /backups/results-monday.db\n"
                     "saffron backup results.bak --db results.db --force",
                     [&cli, options] { return Backup(cli, *options); });
  command->add_option("FILE", options->to, "The copy: whole and checked, or not there")->required();
  command->add_flag("--force", options->force, "Replace FILE");
  cli.AddDatabase(command);
  cli.AddOutput(command);
}

void AddCheckCommand(CLI::App& app, Cli& cli) {
  auto quick = std::make_shared<bool>(false);
  CLI::App* command = cli.AddCommand(
      app, "check",
      "Check the results database: pages, references, and that its history is possible",
      "saffron check\nsaffron check --db /backups/results-monday.db --quick",
      [&cli, quick] { return Check(cli, *quick); });
  command->add_flag("--quick", *quick, "Do not read every page of the file");
  cli.AddDatabase(command);
  cli.AddOutput(command);
}

}  // namespace saffron
