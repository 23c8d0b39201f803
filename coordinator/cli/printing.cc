#include "coordinator/cli/printing.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <cstdlib>
#include <iostream>

#include "absl/strings/numbers.h"

namespace saffron {

int TerminalWidth() {
  constexpr int kNarrowest = 40, kDefault = 100;
  winsize size = {};
  if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0) {
    return std::max<int>(size.ws_col, kNarrowest);
  }
  int columns = 0;
  const char* given = std::getenv("COLUMNS");
  if (given != nullptr && absl::SimpleAtoi(given, &columns) && columns >= kNarrowest)
    return columns;
  return kDefault;
}

int TableWidth() { return isatty(STDOUT_FILENO) ? TerminalWidth() : 0; }

PrintOptions StdoutOptions(const Cli& cli) {
  return {.mode = cli.output, .width = TableWidth(), .colour = UseColour(STDOUT_FILENO)};
}

void PrintToStdout(const Cli& cli, const ResultTable& table) {
  PrintResult(table, StdoutOptions(cli), std::cout);
}

}  // namespace saffron
