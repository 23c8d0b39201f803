#include "core/data/word_tokenizer.h"

namespace saffron {

std::string LowerAscii(std::string_view text) {
  std::string lowered(text);
  for (char& c : lowered) {
    if (c >= 'A' && c <= 'Z') c += 'a' - 'A';
  }
  return lowered;
}

namespace internal {

size_t WordEnd(std::string_view text, size_t i) {
  while (i < text.size() && IsLower(text[i])) ++i;
  if (i + 1 < text.size() && text[i] == '\'' && IsLower(text[i + 1])) {
    for (++i; i < text.size() && IsLower(text[i]);) ++i;
  }
  return i;
}

size_t NumberEnd(std::string_view text, size_t i) {
  while (true) {
    while (i < text.size() && IsDigit(text[i])) ++i;
    const bool goes_on =
        i + 1 < text.size() && (text[i] == '.' || text[i] == ',') && IsDigit(text[i + 1]);
    if (!goes_on) return i;
    ++i;
  }
}

}  // namespace internal

std::vector<std::string> WordTokens(std::string_view text) {
  const std::string lowered = LowerAscii(text);
  std::vector<std::string> tokens;
  ForEachWord(lowered,
              [&](size_t begin, size_t end) { tokens.emplace_back(lowered, begin, end - begin); });
  return tokens;
}

}  // namespace saffron
