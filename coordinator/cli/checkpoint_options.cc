#include "coordinator/cli/checkpoint_options.h"

#include <optional>

#include "absl/strings/str_cat.h"
#include "coordinator/sweep/quantities.h"

namespace saffron {

void AddCheckpointEvery(CLI::App* command, double* seconds) {
  command
      ->add_option("--checkpoint-every", *seconds,
                   "Training between the states that a long trial leaves, from which it goes on "
                   "after an interruption; 0: none")
      ->type_name("SECONDS")
      ->check(CLI::Range(0.0, 86'400.0))
      ->capture_default_str();
}

void KeptFiles::AddOptions(CLI::App* command) {
  command
      ->add_option("--artifact-budget", budget,
                   "Most disk that checkpoints take in FILE.artifacts; the oldest that nothing "
                   "needs go first. 0: any")
      ->type_name("SIZE")
      ->capture_default_str();
  command
      ->add_option("--keep", keep,
                   "Checkpoints that every trial with a result leaves there: best, last, or both")
      ->type_name("best,last")
      ->delimiter(',')
      ->check(CLI::IsMember({"best", "last"}));
}

absl::StatusOr<int64_t> KeptFiles::Budget() const {
  if (budget == "0") return 0;
  const std::optional<int64_t> bytes = ParseBytes(budget);
  if (bytes.has_value() && *bytes > 0) return *bytes;
  return absl::InvalidArgumentError(
      absl::StrCat("--artifact-budget: want a size such as 20GiB, or 0, got \"", budget, "\""));
}

}  // namespace saffron
