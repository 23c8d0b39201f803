#pragma once
// What a roadmap found, in a terminal: `saffron run` ends with it and `saffron report` prints it
// again.

#include <ostream>
#include <string>

#include "absl/status/status.h"
#include "coordinator/report/output_mode.h"
#include "coordinator/report/read_source.h"

namespace saffron {

struct RunReportOptions {
  int width = 100;      // columns to wrap and plot in
  bool cut = true;      // tables that are wider, with an ellipsis: only on a terminal
  bool colour = false;  // ANSI colours: only on a terminal, never under NO_COLOR
  OutputMode mode = OutputMode::kTable;
  std::string program = "saffron";  // how the user calls us: starts the commands to try next
};

// Prints the leaderboard, "Is the best the biggest?", "Explicit or random start?", the best of each
// block, failures, and three queries to try next. `roadmap` is a name, an id or "last". Sections
// that have nothing to say (no pairs, one block, no failures) are left out. Rows are ordered by
// value, then by variant, so that equal results print equal text. NOT_FOUND: no such roadmap (names
// the near ones). Otherwise the source's errors.
//
// `mode` kJson: the same findings as one object, of all variants and in full (what is not a number
// is null; a mean with its standard deviation and n; effects with their 95 % intervals). kCsv: a
// line for each variant with a value of the metric, best first. kQuiet: their trials.
absl::Status PrintRunReport(ReadSource& source, const std::string& roadmap,
                            const RunReportOptions& options, std::ostream& out);

}  // namespace saffron
