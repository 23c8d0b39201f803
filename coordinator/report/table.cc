#include "coordinator/report/table.h"

#include <algorithm>
#include <cmath>
#include <set>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "absl/strings/str_cat.h"
#include "coordinator/report/json.h"
#include "coordinator/report/number_format.h"
#include "coordinator/report/text_width.h"

namespace saffron {
namespace {

constexpr int kGap = 2;
constexpr int kElasticMin = 16;
constexpr char kBold[] = "\033[1m";
constexpr char kReset[] = "\033[0m";

// Appends `cell` padded to `width`.
void AppendPadded(const std::string& cell, int width, TextTable::Align align, std::string& line) {
  const std::string padding(std::max(0, width - DisplayWidth(cell)), ' ');
  if (align == TextTable::Align::kRight) line += padding;
  line += cell;
  if (align == TextTable::Align::kLeft) line += padding;
}

void TrimRight(std::string& line) { line.erase(line.find_last_not_of(' ') + 1); }

std::string CsvField(const std::string& text) {
  if (text.find_first_of(",\"\r\n") == std::string::npos) return text;
  std::string quoted = "\"";
  for (const char c : text) {
    if (c == '"') quoted += '"';
    quoted += c;
  }
  return quoted + "\"";
}

// The columns' names, each once: a second "mean" is "mean:1", as SQLite names the columns of a
// subquery.
std::vector<std::string> UniqueNames(const std::vector<std::string>& columns) {
  std::set<std::string> taken(columns.begin(), columns.end()), used;
  std::vector<std::string> names;
  for (const std::string& column : columns) {
    std::string name = column;
    for (int i = 1; used.contains(name); ++i) {
      const std::string other = absl::StrCat(column, ":", i);
      if (!taken.contains(other)) name = other;
    }
    taken.insert(name);
    used.insert(name);
    names.push_back(std::move(name));
  }
  return names;
}

void PrintJson(const ResultTable& table, std::ostream& out) {
  const std::vector<std::string> names = UniqueNames(table.columns);
  out << "[";
  for (size_t i = 0; i < table.rows.size(); ++i) {
    nlohmann::ordered_json object = nlohmann::ordered_json::object();
    for (size_t j = 0; j < table.columns.size(); ++j) {
      object[names[j]] = CellJson(table.rows[i][j]);
    }
    out << (i == 0 ? "\n " : ",\n ") << JsonText(object);
  }
  out << (table.rows.empty() ? "]\n" : "\n]\n");
}

void PrintCsv(const ResultTable& table, std::ostream& out) {
  for (size_t j = 0; j < table.columns.size(); ++j) {
    out << (j ? "," : "") << CsvField(table.columns[j]);
  }
  out << "\n";
  for (const auto& row : table.rows) {
    for (size_t j = 0; j < row.size(); ++j) out << (j ? "," : "") << CsvField(ExactCell(row[j]));
    out << "\n";
  }
}

void PrintTable(const ResultTable& table, const PrintOptions& options, std::ostream& out) {
  std::vector<TextTable::Column> columns;
  for (size_t j = 0; j < table.columns.size(); ++j) {
    const bool text = std::any_of(table.rows.begin(), table.rows.end(), [&](const auto& row) {
      return std::holds_alternative<std::string>(row[j]);
    });
    columns.push_back(
        {table.columns[j],
         text || table.rows.empty() ? TextTable::Align::kLeft : TextTable::Align::kRight,
         /*elastic=*/text});
  }
  TextTable printed(std::move(columns));
  for (const auto& row : table.rows) {
    std::vector<std::string> cells;
    for (const Cell& cell : row) cells.push_back(FormatCell(cell));
    printed.AddRow(std::move(cells));
  }
  printed.Print({.width = options.width, .colour = options.colour}, out);
}

}  // namespace

void TextTable::AddRow(std::vector<std::string> cells, bool bold) {
  for (std::string& cell : cells) cell = OneLine(cell);
  rows_.push_back({std::move(cells), bold});
}

std::vector<int> TextTable::Widths(const Style& style) const {
  std::vector<int> widths;
  int total = style.indent - kGap;
  for (size_t j = 0; j < columns_.size(); ++j) {
    int width = DisplayWidth(columns_[j].title);
    for (const Row& row : rows_) width = std::max(width, DisplayWidth(row.cells[j]));
    widths.push_back(width);
    total += width + kGap;
  }
  if (style.width <= 0) return widths;
  // Take from the widest elastic column, one by one, until the table fits or none can give.
  while (total > style.width) {
    int widest = -1;
    for (size_t j = 0; j < columns_.size(); ++j) {
      if (!columns_[j].elastic || widths[j] <= kElasticMin) continue;
      if (widest < 0 || widths[j] > widths[widest]) widest = static_cast<int>(j);
    }
    if (widest < 0) break;
    --widths[widest];
    --total;
  }
  return widths;
}

void TextTable::Print(const Style& style, std::ostream& out) const {
  const std::vector<int> widths = Widths(style);
  const auto line_of = [&](const std::vector<std::string>& cells) {
    std::string line(style.indent, ' ');
    for (size_t j = 0; j < columns_.size(); ++j) {
      if (j > 0) line.append(kGap, ' ');
      AppendPadded(CutToWidth(cells[j], widths[j]), widths[j], columns_[j].align, line);
    }
    TrimRight(line);
    return line;
  };
  std::vector<std::string> titles;
  for (const Column& column : columns_) titles.push_back(OneLine(column.title));
  out << (style.colour ? kBold : "") << line_of(titles) << (style.colour ? kReset : "") << "\n";
  for (const Row& row : rows_) {
    const bool bold = style.colour && row.bold;
    out << (bold ? kBold : "") << line_of(row.cells) << (bold ? kReset : "") << "\n";
  }
}

void PrintResult(const ResultTable& table, const PrintOptions& options, std::ostream& out) {
  switch (options.mode) {
    case OutputMode::kTable:
      PrintTable(table, options, out);
      break;
    case OutputMode::kJson:
      PrintJson(table, out);
      break;
    case OutputMode::kCsv:
      PrintCsv(table, out);
      break;
    case OutputMode::kQuiet:
      for (const auto& row : table.rows) out << ExactCell(row.front()) << "\n";
      break;
  }
}

}  // namespace saffron
