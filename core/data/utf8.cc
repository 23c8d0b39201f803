#include "core/data/utf8.h"

#include <cstdint>
#include <cstring>

namespace saffron {
namespace {

constexpr CodePoint kInvalid = {.value = 0xFFFD, .bytes = 1, .valid = false};

}  // namespace

CodePoint DecodeUtf8(std::string_view text) {
  const auto byte = [&](size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned lead = byte(0);
  if (lead < 0x80) return {.value = lead};
  int bytes;
  char32_t value, smallest;
  if ((lead & 0xE0) == 0xC0) {
    bytes = 2, value = lead & 0x1F, smallest = 0x80;
  } else if ((lead & 0xF0) == 0xE0) {
    bytes = 3, value = lead & 0x0F, smallest = 0x800;
  } else if ((lead & 0xF8) == 0xF0) {
    bytes = 4, value = lead & 0x07, smallest = 0x10000;
  } else {
    return kInvalid;
  }
  if (text.size() < static_cast<size_t>(bytes)) return kInvalid;
  for (int i = 1; i < bytes; ++i) {
    if ((byte(i) & 0xC0) != 0x80) return kInvalid;
    value = value << 6 | (byte(i) & 0x3F);
  }
  const bool surrogate = value >= 0xD800 && value <= 0xDFFF;
  if (value < smallest || value > 0x10FFFF || surrogate) return kInvalid;
  return {.value = value, .bytes = bytes};
}

std::optional<size_t> FirstInvalidUtf8(std::string_view text) {
  size_t i = 0;
  while (i < text.size()) {
    uint64_t word;
    while (i + sizeof word <= text.size()) {
      std::memcpy(&word, text.data() + i, sizeof word);
      if (word & 0x8080808080808080u) break;
      i += sizeof word;
    }
    if (i >= text.size()) break;
    const CodePoint point = DecodeUtf8(text.substr(i));
    if (!point.valid) return i;
    i += point.bytes;
  }
  return std::nullopt;
}

bool IsUnicodeSpace(char32_t c) {
  if (c < 0x80) return (c >= 0x09 && c <= 0x0D) || (c >= 0x1C && c <= 0x20);
  return c == 0x85 || c == 0xA0 || c == 0x1680 || (c >= 0x2000 && c <= 0x200A) || c == 0x2028 ||
         c == 0x2029 || c == 0x202F || c == 0x205F || c == 0x3000;
}

}  // namespace saffron
