#pragma once
// "Did you mean …?": edit distance between names.

#include <string_view>

namespace saffron {

// Least number of insertions, deletions, substitutions and swaps of neighbours that turn `a` into
// `b`, no substring edited twice (optimal string alignment; Damerau, CACM 1964).
int EditDistance(std::string_view a, std::string_view b);

}  // namespace saffron
