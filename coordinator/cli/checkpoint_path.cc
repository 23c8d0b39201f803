#include "coordinator/cli/checkpoint_path.h"

#include <filesystem>
#include <fstream>
#include <memory>
#include <optional>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "coordinator/cli/connect.h"
#include "coordinator/store/backup.h"
#include "core/base/status_macros.h"
#include "core/data/files.h"

namespace saffron {
namespace {

// The newest file that is kept beside the database for a trial and that `which`, a condition in
// SQL, names; states come last. `otherwise` says what to do where there is none.
absl::StatusOr<std::string> FindOfTrial(const Cli& cli, int64_t trial, const std::string& which,
                                        const std::string& otherwise) {
  ASSIGN_OR_RETURN(const std::unique_ptr<ReadSource> source, OpenLocalSource(cli.database, ""));
  ASSIGN_OR_RETURN(
      const ResultTable table,
      source->Query(absl::StrCat("SELECT sha256 FROM artifacts WHERE trial = ", trial,
                                 " AND deleted_us IS NULL AND ", which,
                                 " ORDER BY kind = 'state', step DESC, id DESC LIMIT 1")));
  if (table.rows.empty()) return absl::NotFoundError(otherwise);
  const std::string digest = std::get<std::string>(table.rows[0][0]);
  return absl::StrCat(source->Where(), ".artifacts/", digest.substr(0, 2), "/", digest.substr(2));
}

// The number of a trial, where `file` is one and no file.
std::optional<int64_t> TrialOf(const std::string& file) {
  int64_t trial = 0;
  if (std::filesystem::exists(file) || !absl::SimpleAtoi(file, &trial)) return std::nullopt;
  return trial;
}

}  // namespace

absl::StatusOr<std::string> CheckpointPath(const Cli& cli, const std::string& file,
                                           const std::string& role) {
  const std::optional<int64_t> trial = TrialOf(file);
  if (!trial.has_value()) return file;
  const std::string none =
      absl::StrCat("no ", role, " checkpoint of trial ", *trial, " is kept beside ", cli.database);
  const auto find = [&](const std::string& which, const std::string& otherwise) {
    return FindOfTrial(
        cli, *trial,
        absl::StrCat("((kind = 'checkpoint' AND role = ", SqlText(which), ") OR kind = 'state')"),
        otherwise);
  };
  absl::StatusOr<std::string> found =
      find(role, absl::StrCat(none, "; trials leave them when run with --keep ", role));
  if (!absl::IsNotFound(found.status())) return found;
  const std::string other = role == "best" ? "last" : "best";
  if (!find(other, "").ok()) return found;
  return absl::NotFoundError(
      absl::StrCat(none, ", but its ", other, " one is: --checkpoint ", other));
}

absl::StatusOr<std::string> RoutingPath(const Cli& cli, const std::string& file) {
  const std::optional<int64_t> trial = TrialOf(file);
  if (!trial.has_value()) return file;
  return FindOfTrial(cli, *trial, "kind = 'trace' AND role = 'routing'",
                     absl::StrCat("no routing of trial ", *trial, " is kept beside ", cli.database,
                                  "; trials of models with experts leave it when they succeed"));
}

absl::Status CheckCheckpointTarget(const Cli& cli, const std::string& from, const std::string& to,
                                   bool overwrite) {
  RETURN_IF_ERROR(CheckOutsideDatabase(to, cli.database));
  constexpr absl::string_view kDatabaseBegins("SQLite format 3\0", 16);
  char begins[kDatabaseBegins.size()] = {};
  std::error_code error;
  if (std::filesystem::is_regular_file(to, error)) {
    std::ifstream(to, std::ios::binary).read(begins, sizeof(begins));
  }
  if (kDatabaseBegins == absl::string_view(begins, sizeof(begins))) {
    return absl::FailedPreconditionError(absl::StrCat(to, " is a database: name another file"));
  }
  return CheckTarget(from, "the checkpoint", to, overwrite);
}

}  // namespace saffron
