#pragma once
// UTF-8 (RFC 3629): decoding, validation, and which code points are white space. Thread-safe.

#include <cstddef>
#include <optional>
#include <string_view>

namespace saffron {

struct CodePoint {
  char32_t value = 0;  // U+FFFD where the bytes are not valid UTF-8
  int bytes = 1;       // length of its encoding; 1 where invalid
  bool valid = true;
};

// The code point at the start of `text`, which must not be empty. Overlong forms, surrogates and
// values above U+10FFFF are invalid. Never reads past the end.
CodePoint DecodeUtf8(std::string_view text);

// Offset of the first byte that does not start a valid sequence; nothing when all of `text` is
// valid. Runs at memory speed over ASCII.
std::optional<size_t> FirstInvalidUtf8(std::string_view text);

// Unicode's White_Space property, and the four ASCII separators U+001C..U+001F: the set that \s
// matches in Python, in which the reference tokenisation is defined.
bool IsUnicodeSpace(char32_t value);

}  // namespace saffron
