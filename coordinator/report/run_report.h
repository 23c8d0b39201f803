#pragma once
// What a roadmap found, in a terminal: `saffron run` ends with it and `saffron report` prints it
// again.

#include <ostream>
#include <string>

#include "absl/status/status.h"
#include "coordinator/report/read_source.h"

namespace saffron {

struct RunReportOptions {
  int width = 100;      // columns of the terminal; longer cells are cut with an ellipsis
  bool colour = false;  // ANSI colours: only on a terminal, never under NO_COLOR
  std::string program = "saffron";  // how the user calls us: starts the commands to try next
};

// Prints the leaderboard, "Is the best the biggest?", "Explicit or random start?", the best of each
// block, failures, and three queries to try next. `roadmap` is a name, an id or "last". Sections
// that have nothing to say (no pairs, one block, no failures) are left out. Rows are ordered by
// value, then by variant, so that equal results print equal text. NOT_FOUND: no such roadmap (names
// the near ones). Otherwise the source's errors.
absl::Status PrintRunReport(ReadSource& source, const std::string& roadmap,
                            const RunReportOptions& options, std::ostream& out);

}  // namespace saffron
