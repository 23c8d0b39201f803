#pragma once
// A scatter plot in text: braille dots, two by four to a character (Unicode U+2800).

#include <ostream>
#include <string>
#include <vector>

namespace saffron {

struct ScatterPoint {
  double x = 0, y = 0;  // positive and finite
  char mark = 0;        // drawn as this character instead of a dot
};

struct ScatterOptions {
  int width = 64, height = 14;  // of the dots, in characters
  int indent = 2;
  std::string x_title, y_title;
  // Highest y to show; points above it sit on the upper edge. <= 0: the largest y.
  double y_max = 0;
};

// Both axes are logarithmic. Marks are drawn over dots, later ones over earlier ones. Prints
// nothing for fewer than two points.
void PrintScatter(const std::vector<ScatterPoint>& points, const ScatterOptions& options,
                  std::ostream& out);

}  // namespace saffron
