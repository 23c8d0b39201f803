#pragma once
// Numbers for people: enough digits to tell values apart, no more.

#include <cstdint>
#include <string>

#include "coordinator/report/read_source.h"

namespace saffron {

// Four significant digits, more only to keep whole numbers below 10^9 whole: 103.9, 0.9143,
// 12.40, 331.5, 1310720, 4.71e+11, 2.1e-05. "nan", "inf", "-inf".
std::string FormatNumber(double value);

// Counts of parameters, tokens, operations: 812, 65.5k, 1.31M, 4.7G, 1.2T.
std::string FormatCount(double value);

// Durations: 0.42 s, 14.2 s, 3 min 20 s, 2 h 05 min.
std::string FormatSeconds(double seconds);

// A change of `value` relative to `reference`, both positive: "+6.1 %", "−0.4 %", "0 %".
std::string FormatPercent(double value, double reference);

// 0.031, 0.0004, "< 0.0001".
std::string FormatProbability(double p);

// "1 trial", "12 trials".
std::string Plural(int64_t n, const std::string& what);

// A cell as a person reads it in a table: numbers as FormatNumber or in full if that is short,
// integers in full, NULL as "".
std::string FormatCell(const Cell& cell);

// A cell in full, for CSV and scripts: doubles as the shortest text that reads back equal, NULL as
// "".
std::string ExactCell(const Cell& cell);

}  // namespace saffron
