#pragma once
// Printing to the terminal that the program was started from.

#include "coordinator/cli/command.h"
#include "coordinator/report/table.h"

namespace saffron {

// Columns of the terminal on stdout; $COLUMNS, else 100, when it is none.
int TerminalWidth();

// Columns that a table on stdout may take: the terminal's, or 0 (any number) when it is none, so
// that nothing is cut in a pipe or a file.
int TableWidth();

// As --output says; tables are cut to the width of a terminal and left whole for a pipe or a file.
PrintOptions StdoutOptions(const Cli& cli);
void PrintToStdout(const Cli& cli, const ResultTable& table);

}  // namespace saffron
