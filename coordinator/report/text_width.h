#pragma once
// How wide UTF-8 text stands in a terminal, and cutting it to fit.

#include <string>
#include <string_view>

namespace saffron {

// Columns that `text` takes in a terminal: 0 for combining marks and control characters, 2 for East
// Asian wide characters and emoji, 1 for the rest and for each byte that is not valid UTF-8.
int DisplayWidth(std::string_view text);

// `text` if it fits into `width` columns; else its beginning and "…", never cut inside a character.
// Returns "" when width < 1.
std::string CutToWidth(std::string_view text, int width);

// Control characters (newlines, tabs, escape codes) become spaces, so that a value from a database
// can neither break a table nor steer a terminal.
std::string OneLine(std::string_view text);

}  // namespace saffron
