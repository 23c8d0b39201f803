#include "core/data/utf8.h"

#include <gtest/gtest.h>

#include <string>

namespace saffron {
namespace {

std::string Encode(char32_t c) {
  const auto tail = [c](int shift) { return static_cast<char>(0x80 | (c >> shift & 0x3F)); };
  if (c < 0x80) return {static_cast<char>(c)};
  if (c < 0x800) return {static_cast<char>(0xC0 | c >> 6), tail(0)};
  if (c < 0x10000) return {static_cast<char>(0xE0 | c >> 12), tail(6), tail(0)};
  return {static_cast<char>(0xF0 | c >> 18), tail(12), tail(6), tail(0)};
}

TEST(Utf8, EveryCodePointDecodesToItself) {
  for (char32_t c = 0; c <= 0x10FFFF; ++c) {
    if (c >= 0xD800 && c <= 0xDFFF) continue;
    const std::string text = Encode(c);
    const CodePoint point = DecodeUtf8(text);
    ASSERT_TRUE(point.valid) << static_cast<uint32_t>(c);
    ASSERT_EQ(point.value, c);
    ASSERT_EQ(point.bytes, static_cast<int>(text.size()));
  }
}

TEST(Utf8, RefusesWhatTheStandardForbids) {
  const std::string_view bad[] = {
      "\x80",              // a continuation byte first
      "\xC0\xAF",          // overlong
      "\xE0\x80\x80",      // overlong
      "\xF0\x80\x80\x80",  // overlong
      "\xED\xA0\x80",      // surrogate
      "\xF4\x90\x80\x80",  // above U+10FFFF
      "\xF8\x88\x80\x80",  // no such lead byte
      "\xC3",              // cut
      "\xE2\x82",          // cut
      "\xE2(\xA1",         // not a continuation
  };
  for (const std::string_view text : bad) {
    EXPECT_FALSE(DecodeUtf8(text).valid);
    EXPECT_EQ(DecodeUtf8(text).bytes, 1);
    EXPECT_EQ(FirstInvalidUtf8(text), 0u);
  }
}

TEST(Utf8, FindsTheFirstBadByteWhereverItStands) {
  for (size_t at = 0; at < 40; ++at) {
    std::string text(40, 'x');
    EXPECT_EQ(FirstInvalidUtf8(text), std::nullopt);
    text[at] = '\xFF';
    EXPECT_EQ(FirstInvalidUtf8(text), at);
    text.replace(at, 1, "€");
    EXPECT_EQ(FirstInvalidUtf8(text), std::nullopt);
  }
}

}  // namespace
}  // namespace saffron
