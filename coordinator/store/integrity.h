#pragma once
// Whether a results database is whole: its pages, its references, and everything that the model of
// trials and attempts promises of the history it holds.

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "coordinator/store/sqlite.h"

namespace saffron {

struct IntegrityReport {
  // One sentence each, of every rule at most kShownMax; empty when the database is whole.
  std::vector<std::string> problems;
  int64_t trials = 0, attempts = 0, events = 0, metrics = 0;  // that were looked at
  int rules = 0;
};
inline constexpr int kProblemsShownMax = 10;

// Reads one snapshot, so it may run beside a coordinator. `pages`: look at every page too (SQLite's
// integrity_check), which reads the whole file. Errors of sqlite.h; DATA_LOSS where the damage is
// such that the rules cannot be asked.
absl::StatusOr<IntegrityReport> CheckIntegrity(Database& db, bool pages);

}  // namespace saffron
