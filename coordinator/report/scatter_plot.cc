#include "coordinator/report/scatter_plot.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <string>

#include "coordinator/report/number_format.h"
#include "coordinator/report/text_width.h"

namespace saffron {
namespace {

// A logarithmic axis of `cells` dots over [low, high].
struct Axis {
  double low, high;
  int cells;

  int CellOf(double value) const {
    const double clamped = std::clamp(value, low, high);
    if (high <= low) return cells / 2;
    const double t = (std::log(clamped) - std::log(low)) / (std::log(high) - std::log(low));
    return std::min(cells - 1, static_cast<int>(t * cells));
  }
};

// Bit of the dot at (column 0..1, row 0..3 from the top) of a braille character.
uint8_t DotBit(int column, int row) {
  static constexpr uint8_t kBits[2][4] = {{0x01, 0x02, 0x04, 0x40}, {0x08, 0x10, 0x20, 0x80}};
  return kBits[column][row];
}

std::string Braille(uint8_t dots) {
  if (dots == 0) return " ";
  // U+2800 + dots in UTF-8.
  return {static_cast<char>(0xE2), static_cast<char>(0xA0 | dots >> 6),
          static_cast<char>(0x80 | (dots & 0x3F))};
}

}  // namespace

void PrintScatter(const std::vector<ScatterPoint>& points, const ScatterOptions& options,
                  std::ostream& out) {
  if (points.size() < 2) return;
  const auto [min_x, max_x] = std::minmax_element(
      points.begin(), points.end(), [](const auto& a, const auto& b) { return a.x < b.x; });
  const auto [min_y, max_y] = std::minmax_element(
      points.begin(), points.end(), [](const auto& a, const auto& b) { return a.y < b.y; });
  const double top = options.y_max > min_y->y ? std::min(options.y_max, max_y->y) : max_y->y;
  const Axis x{min_x->x, max_x->x, 2 * options.width};
  const Axis y{min_y->y, top, 4 * options.height};

  std::vector<std::vector<uint8_t>> dots(options.height, std::vector<uint8_t>(options.width));
  std::vector<std::string> marks(options.height, std::string(options.width, '\0'));
  for (const ScatterPoint& point : points) {
    const int column = x.CellOf(point.x), row = y.cells - 1 - y.CellOf(point.y);
    dots[row / 4][column / 2] |= DotBit(column % 2, row % 4);
    if (point.mark) marks[row / 4][column / 2] = point.mark;
  }

  const std::string top_label = FormatNumber(top), bottom_label = FormatNumber(min_y->y);
  const int label_width = std::max(DisplayWidth(top_label), DisplayWidth(bottom_label));
  const std::string indent(options.indent, ' ');
  out << indent << options.y_title << "\n";
  for (int row = 0; row < options.height; ++row) {
    std::string label;
    if (row == 0) label = top_label;
    if (row == options.height - 1) label = bottom_label;
    out << indent << std::string(label_width - DisplayWidth(label), ' ') << label << " │";
    std::string line;
    for (int column = 0; column < options.width; ++column) {
      const char mark = marks[row][column];
      line += mark ? std::string(1, mark) : Braille(dots[row][column]);
    }
    line.erase(line.find_last_not_of(' ') + 1);
    out << line << "\n";
  }
  out << indent << std::string(label_width, ' ') << " └";
  for (int column = 0; column < options.width; ++column) out << "─";
  const std::string left = FormatCount(min_x->x), right = FormatCount(max_x->x);
  const int room = options.width - DisplayWidth(left) - DisplayWidth(right);
  const int before = std::max(1, (room - DisplayWidth(options.x_title)) / 2);
  out << "\n"
      << indent << std::string(label_width + 2, ' ') << left << std::string(before, ' ')
      << options.x_title
      << std::string(std::max(1, room - before - DisplayWidth(options.x_title)), ' ') << right
      << "\n";
}

}  // namespace saffron
