#include "core/data/word_tokenizer.h"

#include <gmock/gmock.h>

#include <regex>

#include "core/base/random.h"

namespace saffron {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

TEST(WordTokenizer, LowersAsciiAndSplitsWordsNumbersAndSigns) {
  EXPECT_THAT(WordTokens("Fellow-Citizens of the SENATE:"),
              ElementsAre("fellow", "-", "citizens", "of", "the", "senate", ":"));
  EXPECT_THAT(WordTokens("x_1 = $4.50!"), ElementsAre("x", "_", "1", "=", "$", "4.50", "!"));
}

TEST(WordTokenizer, AnApostropheJoinsOnceAndOnlyBetweenLetters) {
  EXPECT_THAT(WordTokens("don't"), ElementsAre("don't"));
  EXPECT_THAT(WordTokens("rock'n'roll"), ElementsAre("rock'n", "'", "roll"));
  EXPECT_THAT(WordTokens("the states' 'tis"), ElementsAre("the", "states", "'", "'", "tis"));
  EXPECT_THAT(WordTokens("don''t o'5"), ElementsAre("don", "'", "'", "t", "o", "'", "5"));
  EXPECT_THAT(WordTokens("it'"), ElementsAre("it", "'"));
}

TEST(WordTokenizer, PointsAndCommasStayInsideNumbersOnly) {
  EXPECT_THAT(WordTokens("1,234.56."), ElementsAre("1,234.56", "."));
  EXPECT_THAT(WordTokens("1..2 .5 7, 8"), ElementsAre("1", ".", ".", "2", ".", "5", "7", ",", "8"));
  EXPECT_THAT(WordTokens("abc123def"), ElementsAre("abc", "123", "def"));
}

TEST(WordTokenizer, ACodePointOutsideAsciiIsATokenUnlessItIsWhiteSpace) {
  EXPECT_THAT(WordTokens("Élan — naïve\u2019s"),
              ElementsAre("É", "lan", "—", "na", "ï", "ve", "’", "s"));
  EXPECT_THAT(WordTokens("a\u00A0b\u2003c\u3000d\u2028e\u0085f"),
              ElementsAre("a", "b", "c", "d", "e", "f"));
  EXPECT_THAT(WordTokens("日本 \U0001F600"), ElementsAre("日", "本", "\U0001F600"));
  // A zero-width space is no white space; an Arabic digit is no digit.
  EXPECT_THAT(WordTokens("a\u200Bb ٣٤"), ElementsAre("a", "\u200B", "b", "٣", "٤"));
}

TEST(WordTokenizer, WhiteSpaceOfEveryKindOnlySeparates) {
  EXPECT_THAT(WordTokens(" \t\r\n\v\f\x1c\x1f "), IsEmpty());
  EXPECT_THAT(WordTokens(""), IsEmpty());
  EXPECT_THAT(WordTokens("one\r\ntwo"), ElementsAre("one", "two"));
}

TEST(WordTokenizer, InvalidBytesAreTokensOfTheirOwn) {
  EXPECT_THAT(WordTokens("a\xFFz\xC3"), ElementsAre("a", "\xFF", "z", "\xC3"));
  EXPECT_THAT(WordTokens(std::string_view("a\0b", 3)), ElementsAre("a", std::string(1, '\0'), "b"));
}

TEST(WordTokenizer, AgreesWithTheRegularExpressionOnRandomAscii) {
  const std::regex regex(R"([a-z]+('[a-z]+)?|\d+([.,]\d+)*|[^\sa-z\d])");
  constexpr std::string_view kAlphabet = "aZbC'''..,,0198 \n\t-\"(";
  for (uint64_t trial = 0; trial < 300; ++trial) {
    const CounterRandom random(trial, RandomPurpose::kTest);
    std::string text;
    for (int i = 0; i < 60; ++i) text += kAlphabet[random.Below(i, kAlphabet.size())];
    const std::string lowered = LowerAscii(text);
    std::vector<std::string> expected;
    for (std::sregex_iterator match(lowered.begin(), lowered.end(), regex), end; match != end;
         ++match) {
      expected.push_back(match->str());
    }
    ASSERT_EQ(WordTokens(text), expected) << text;
  }
}

TEST(WordTokenizer, RandomBytesGiveOrderedRangesInsideTheText) {
  for (uint64_t trial = 0; trial < 300; ++trial) {
    const CounterRandom random(trial, RandomPurpose::kTest, 1);
    std::string text(random.Below(0, 200), '\0');
    for (size_t i = 0; i < text.size(); ++i) text[i] = static_cast<char>(random.Bits(i + 1));
    const std::string lowered = LowerAscii(text);
    ASSERT_EQ(lowered.size(), text.size());
    size_t last = 0;
    ForEachWord(lowered, [&](size_t begin, size_t end) {
      ASSERT_LE(last, begin);
      ASSERT_LT(begin, end);
      ASSERT_LE(end, lowered.size());
      last = end;
    });
  }
}

TEST(WordTokenizer, AMegabyteWithoutABlankIsOneWord) {
  EXPECT_EQ(WordTokens(std::string(1 << 20, 'A')).size(), 1u);
}

}  // namespace
}  // namespace saffron
