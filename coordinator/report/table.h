#pragma once
// Printing rows: aligned for people, JSON or CSV for programs, identifiers alone for scripts.

#include <ostream>
#include <string>
#include <vector>

#include "coordinator/report/output_mode.h"
#include "coordinator/report/read_source.h"

namespace saffron {

// A table for people. Cells are text already; a column is as wide as its widest cell.
class TextTable {
 public:
  enum class Align { kLeft, kRight };
  struct Column {
    std::string title;
    Align align = Align::kLeft;
    // A column that may be cut with an ellipsis, down to 8 columns, when the table is too wide.
    bool elastic = false;
  };

  explicit TextTable(std::vector<Column> columns) : columns_(std::move(columns)) {}

  // `cells` is as long as the columns; control characters in it become spaces. `bold` rows stand
  // out where there is colour.
  void AddRow(std::vector<std::string> cells, bool bold = false);
  size_t rows() const { return rows_.size(); }

  struct Style {
    int width = 100;  // columns of the terminal; 0 = unlimited
    int indent = 0;
    bool colour = false;
  };
  // Columns are two spaces apart; nothing is printed right of the last cell of a row.
  void Print(const Style& style, std::ostream& out) const;

 private:
  struct Row {
    std::vector<std::string> cells;
    bool bold;
  };
  std::vector<int> Widths(const Style& style) const;

  std::vector<Column> columns_;
  std::vector<Row> rows_;
};

struct PrintOptions {
  OutputMode mode = OutputMode::kTable;
  int width = 0;  // of the terminal, for kTable; 0 = unlimited
  bool colour = false;
};

// A result as the user asked for it. kTable: columns whose every value is a number (or NULL) are
// right-aligned. kJson: an array of objects, NULL, NaN and infinities as null; of columns of one
// name the second is NAME:1, and so on. kCsv: RFC 4180, a
// header first. kQuiet: the first column, one value a line, no header.
void PrintResult(const ResultTable& table, const PrintOptions& options, std::ostream& out);

}  // namespace saffron
