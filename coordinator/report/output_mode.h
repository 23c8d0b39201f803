#pragma once
namespace saffron {

// How a command prints data. Table is for people and may change; JSON and CSV are stable
// interfaces; quiet prints identifiers only, one a line, for scripts.
enum class OutputMode { kTable, kJson, kCsv, kQuiet };

}  // namespace saffron
