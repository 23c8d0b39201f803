#include "coordinator/cli/checkpoint_path.h"

#include <filesystem>
#include <memory>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "coordinator/cli/connect.h"
#include "core/base/status_macros.h"

namespace saffron {
namespace {

// A checkpoint of a finished trial, or the state of one under way, beside the database.
absl::StatusOr<std::string> FindOfTrial(const Cli& cli, int64_t trial, const std::string& role) {
  ASSIGN_OR_RETURN(const std::unique_ptr<ReadSource> source, OpenLocalSource(cli.database, ""));
  ASSIGN_OR_RETURN(
      const ResultTable table,
      source->Query(absl::StrCat("SELECT sha256 FROM artifacts WHERE trial = ", trial,
                                 " AND deleted_us IS NULL AND "
                                 "((kind = 'checkpoint' AND role = ",
                                 SqlText(role),
                                 ") OR kind = 'state') "
                                 "ORDER BY kind = 'state', step DESC, id DESC LIMIT 1")));
  if (table.rows.empty()) {
    return absl::NotFoundError(absl::StrCat("no ", role, " checkpoint of trial ", trial,
                                            " is kept beside ", cli.database,
                                            "; trials leave them when run with --keep ", role));
  }
  const std::string digest = std::get<std::string>(table.rows[0][0]);
  return absl::StrCat(source->Where(), ".artifacts/", digest.substr(0, 2), "/", digest.substr(2));
}

}  // namespace

absl::StatusOr<std::string> CheckpointPath(const Cli& cli, const std::string& file,
                                           const std::string& role) {
  int64_t trial = 0;
  if (std::filesystem::exists(file) || !absl::SimpleAtoi(file, &trial)) return file;
  return FindOfTrial(cli, trial, role);
}

}  // namespace saffron
