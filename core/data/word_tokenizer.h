#pragma once
// Words, numbers and signs: the matches of
//   [a-z]+('[a-z]+)?  |  \d+([.,]\d+)*  |  [^\sa-z\d]
// in the text with A..Z lowered, found by a scanner that looks at each byte about once.
//
// Only ASCII letters are lowered and only ASCII digits are digits: a code point outside ASCII is
// one token of its own as it stands, unless it is white space (utf8.h). So "Élan" gives "É", "lan".
// Texts in other scripts are better served by the bpe, unigram or byte tokenisers. A byte that is
// not valid UTF-8 is one token; any bytes at all are safe. Thread-safe.

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "core/data/utf8.h"

namespace saffron {

// `text` with A..Z lowered: byte offsets stay what they were.
std::string LowerAscii(std::string_view text);

namespace internal {
inline bool IsLower(char c) { return c >= 'a' && c <= 'z'; }
inline bool IsDigit(char c) { return c >= '0' && c <= '9'; }
// The end of the word or number that starts at `i`.
size_t WordEnd(std::string_view text, size_t i);
size_t NumberEnd(std::string_view text, size_t i);
}  // namespace internal

// Calls sink(begin, end) with the byte range of every token of `lowered` (of LowerAscii) in order.
template <typename Sink>
void ForEachWord(std::string_view lowered, Sink&& sink) {
  size_t i = 0;
  while (i < lowered.size()) {
    const char c = lowered[i];
    size_t end = i + 1;
    if (internal::IsLower(c)) {
      end = internal::WordEnd(lowered, i);
    } else if (internal::IsDigit(c)) {
      end = internal::NumberEnd(lowered, i);
    } else {
      const CodePoint point = DecodeUtf8(lowered.substr(i));
      end = i + point.bytes;
      if (IsUnicodeSpace(point.value)) {
        i = end;
        continue;
      }
    }
    sink(i, end);
    i = end;
  }
}

// The tokens of `text`, lowered.
std::vector<std::string> WordTokens(std::string_view text);

}  // namespace saffron
