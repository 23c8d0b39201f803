#include "coordinator/report/text_width.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <iterator>

namespace saffron {
namespace {

struct Range {
  uint32_t first, last;
};

// Sorted. Combining marks, zero-width joiners and variation selectors.
constexpr Range kZeroWidth[] = {
    {0x0000, 0x001F},   {0x007F, 0x009F}, {0x0300, 0x036F}, {0x0483, 0x0489}, {0x0591, 0x05BD},
    {0x0610, 0x061A},   {0x064B, 0x065F}, {0x0900, 0x0902}, {0x093C, 0x093C}, {0x0E31, 0x0E31},
    {0x0E34, 0x0E3A},   {0x1AB0, 0x1AFF}, {0x1DC0, 0x1DFF}, {0x200B, 0x200F}, {0x202A, 0x202E},
    {0x2060, 0x2064},   {0x20D0, 0x20F0}, {0xFE00, 0xFE0F}, {0xFE20, 0xFE2F}, {0xFEFF, 0xFEFF},
    {0xE0100, 0xE01EF},
};
// Sorted. East Asian Wide and Fullwidth blocks, and the emoji planes.
constexpr Range kDoubleWidth[] = {
    {0x1100, 0x115F},   {0x231A, 0x231B},   {0x2E80, 0x303E},   {0x3041, 0x33FF},
    {0x3400, 0x4DBF},   {0x4E00, 0x9FFF},   {0xA000, 0xA4CF},   {0xA960, 0xA97F},
    {0xAC00, 0xD7A3},   {0xF900, 0xFAFF},   {0xFE30, 0xFE6F},   {0xFF00, 0xFF60},
    {0xFFE0, 0xFFE6},   {0x1F300, 0x1F64F}, {0x1F680, 0x1F6FF}, {0x1F900, 0x1F9FF},
    {0x20000, 0x3FFFD},
};

template <size_t n>
bool Contains(const Range (&ranges)[n], uint32_t c) {
  const Range* range = std::upper_bound(std::begin(ranges), std::end(ranges), c,
                                        [](uint32_t x, const Range& r) { return x < r.first; });
  return range != std::begin(ranges) && c <= std::prev(range)->last;
}

struct Character {
  size_t bytes;
  int width;
};

// The character at the start of `text`, which is not empty. A byte that starts no valid sequence
// counts as one character of width 1: a terminal shows a replacement there.
Character First(std::string_view text) {
  const auto byte = [&](size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char lead = byte(0);
  size_t bytes = 1;
  uint32_t c = lead;
  if (lead >= 0xF0 && lead < 0xF5) {
    bytes = 4, c = lead & 0x07u;
  } else if (lead >= 0xE0 && lead < 0xF0) {
    bytes = 3, c = lead & 0x0Fu;
  } else if (lead >= 0xC2 && lead < 0xE0) {
    bytes = 2, c = lead & 0x1Fu;
  } else if (lead >= 0x80) {
    return {1, 1};
  }
  if (bytes > text.size()) return {1, 1};
  for (size_t i = 1; i < bytes; ++i) {
    if ((byte(i) & 0xC0u) != 0x80u) return {1, 1};
    c = (c << 6) | (byte(i) & 0x3Fu);
  }
  if (Contains(kZeroWidth, c)) return {bytes, 0};
  return {bytes, Contains(kDoubleWidth, c) ? 2 : 1};
}

}  // namespace

int DisplayWidth(std::string_view text) {
  int width = 0;
  while (!text.empty()) {
    const Character character = First(text);
    width += character.width;
    text.remove_prefix(character.bytes);
  }
  return width;
}

std::string CutToWidth(std::string_view text, int width) {
  if (width < 1) return "";
  if (DisplayWidth(text) <= width) return std::string(text);
  size_t kept = 0;
  int used = 1;  // the ellipsis
  while (kept < text.size()) {
    const Character character = First(text.substr(kept));
    if (used + character.width > width) break;
    used += character.width;
    kept += character.bytes;
  }
  return std::string(text.substr(0, kept)) + "…";
}

std::string OneLine(std::string_view text) {
  std::string line(text);
  for (char& c : line) {
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7F) c = ' ';
  }
  return line;
}

}  // namespace saffron
