#include "coordinator/sweep/expression.h"

#include <map>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"

namespace saffron {
namespace {

const std::map<std::string, ParamValue> kValues = {{"model.bits", int64_t{64}},
                                                   {"model.type", std::string("saffu")},
                                                   {"model.streams", std::string("x+c")},
                                                   {"train.lr", 0.001},
                                                   {"train.steps", int64_t{300}},
                                                   {"flag", true},
                                                   {"zero", int64_t{0}},
                                                   {"largest", int64_t{9223372036854775807}}};

// The text of the value, or the error.
std::string Evaluate(const std::string& text) {
  const absl::StatusOr<Expression> expression = Expression::Parse(text);
  if (!expression.ok()) return std::string(expression.status().message());
  std::vector<const ParamValue*> values;
  for (const Expression::Name& name : expression->names()) values.push_back(&kValues.at(name.name));
  const absl::StatusOr<ParamValue> value = expression->Evaluate(values);
  return value.ok() ? ParamValueText(*value) : std::string(value.status().message());
}

TEST(ExpressionTest, ArithmeticOfIntegersStaysWhole) {
  EXPECT_EQ(Evaluate("1 + 2 * 3"), "7");
  EXPECT_EQ(Evaluate("(1 + 2) * 3"), "9");
  EXPECT_EQ(Evaluate("10 - 4 - 3"), "3");
  EXPECT_EQ(Evaluate("1000000 / 10"), "100000");
  EXPECT_EQ(Evaluate("7 // 2"), "3");
  EXPECT_EQ(Evaluate("-7 // 2"), "-4");
  EXPECT_EQ(Evaluate("-7 % 3"), "2");
  EXPECT_EQ(Evaluate("7 % -3"), "-2");
  EXPECT_EQ(Evaluate("2 ** 10"), "1024");
  EXPECT_EQ(Evaluate("2 ** 3 ** 2"), "512");
  EXPECT_EQ(Evaluate("-2 ** 2"), "-4");
  EXPECT_EQ(Evaluate("largest - 1 + 1"), "9223372036854775807");
}

TEST(ExpressionTest, FractionsMakeDoubles) {
  EXPECT_EQ(Evaluate("7 / 2"), "3.5");
  EXPECT_EQ(Evaluate("1.5 + 1"), "2.5");
  EXPECT_EQ(Evaluate("2 ** -1"), "0.5");
  EXPECT_EQ(Evaluate("1e3"), "1000.0");
  EXPECT_EQ(Evaluate(".5 * 4."), "2.0");
  EXPECT_EQ(Evaluate("7.5 // 2"), "3.0");
  EXPECT_EQ(Evaluate("-7.5 % 2"), "0.5");
}

TEST(ExpressionTest, ComparisonsChainAndRespectTypes) {
  EXPECT_EQ(Evaluate("1 < 2"), "true");
  EXPECT_EQ(Evaluate("1 == 1.0"), "true");
  EXPECT_EQ(Evaluate("0.1 + 0.2 == 0.3"), "false");
  EXPECT_EQ(Evaluate("1 < 2 < 3"), "true");
  EXPECT_EQ(Evaluate("1 < 3 < 2"), "false");
  EXPECT_EQ(Evaluate("'abc' < 'abd'"), "true");
  EXPECT_EQ(Evaluate("flag == true"), "true");
  // Beyond 2^53 doubles round; comparing does not.
  EXPECT_EQ(Evaluate("largest == 9223372036854775807.0"), "false");
}

TEST(ExpressionTest, LogicEvaluatesWhatItNeeds) {
  EXPECT_EQ(Evaluate("false and 1 / zero == 1"), "false");
  EXPECT_EQ(Evaluate("true or 1 / zero == 1"), "true");
  EXPECT_EQ(Evaluate("1 / 2 if zero == 1 else 'no'"), "\"no\"");
  EXPECT_EQ(Evaluate("1 / zero if false else 2"), "2");
  EXPECT_EQ(Evaluate("not flag"), "false");
  EXPECT_EQ(Evaluate("!flag || flag && true"), "true");
  EXPECT_EQ(Evaluate("not 1 == 2"), "true");
  EXPECT_EQ(Evaluate("true or false and false"), "true");
}

TEST(ExpressionTest, MembershipInListsAndStrings) {
  EXPECT_EQ(Evaluate("model.type in ['saffu', 'noop']"), "true");
  EXPECT_EQ(Evaluate("model.type not in ['saffu', 'noop']"), "false");
  EXPECT_EQ(Evaluate("model.bits in [16, 64.0]"), "true");
  EXPECT_EQ(Evaluate("'c' in model.streams"), "true");
  EXPECT_EQ(Evaluate("'r' in model.streams"), "false");
  EXPECT_EQ(Evaluate("3 in []"), "false");
}

TEST(ExpressionTest, Functions) {
  EXPECT_EQ(Evaluate("min(3, 1.5, 2)"), "1.5");
  EXPECT_EQ(Evaluate("max(3, 1.5)"), "3");
  EXPECT_EQ(Evaluate("round(2.5) + round(-2.5) + floor(1.9) + ceil(1.1)"), "3");
  EXPECT_EQ(Evaluate("abs(-3) + abs(2.5)"), "5.5");
  EXPECT_EQ(Evaluate("log2(1024)"), "10.0");
  EXPECT_EQ(Evaluate("sqrt(16)"), "4.0");
  EXPECT_EQ(Evaluate("max(1, round(0.1 * train.steps))"), "30");
}

TEST(ExpressionTest, NamesAreDottedAndEachIsBoundOnce) {
  const auto expression = Expression::Parse("model.bits * train.lr + model.bits");
  ASSERT_TRUE(expression.ok());
  ASSERT_EQ(expression->names().size(), 2u);
  EXPECT_EQ(expression->names()[0].name, "model.bits");
  EXPECT_EQ(expression->names()[0].column, 1);
  EXPECT_EQ(expression->names()[1].name, "train.lr");
  EXPECT_EQ(expression->names()[1].column, 14);
  EXPECT_EQ(Evaluate("model.bits * 2"), "128");
}

TEST(ExpressionTest, MistakesNameTheColumn) {
  EXPECT_EQ(Evaluate("1 +"), "want a value, got the end (column 4 of `1 +`)");
  EXPECT_EQ(Evaluate("1 2"), "want an operator or the end, got 2 (column 3 of `1 2`)");
  EXPECT_EQ(Evaluate("a = 2"), "want ==, got = (column 3 of `a = 2`)");
  EXPECT_EQ(Evaluate("(1"), "want ), got the end (column 3 of `(1`)");
  EXPECT_EQ(Evaluate("'abc"), "want a closing ', got the end (column 1 of `'abc`)");
  EXPECT_EQ(Evaluate("3x"), "want a number, got 3x (column 1 of `3x`)");
  EXPECT_EQ(Evaluate("1 # 2"),
            "want a number, a name, a string or an operator, got a character that "
            "begins none of them (column 3 of `1 # 2`)");
  EXPECT_EQ(Evaluate("exp(2)"),
            "want one of the functions min, max, round, floor, ceil, abs, sqrt, "
            "log2, got exp (column 1 of `exp(2)`)");
  EXPECT_EQ(Evaluate("sqrt(1, 2)"), "want one value in sqrt(), got 2 (column 1 of `sqrt(1, 2)`)");
  EXPECT_EQ(Evaluate("min()"), "want at least one value in min(), got 0 (column 1 of `min()`)");
  EXPECT_EQ(Evaluate("min + 1"), "want ( after min, got + (column 5 of `min + 1`)");
  EXPECT_EQ(Evaluate("1 if true"), "want else, got the end (column 10 of `1 if true`)");
  EXPECT_EQ(Evaluate("[1, 2]"),
            "want a list only after in, got one elsewhere (column 1 of `[1, 2]`)");
  EXPECT_EQ(Evaluate(""), "want an expression, got nothing");
  EXPECT_EQ(
      Evaluate("99999999999999999999"),
      "want a number of 64 bits, got 99999999999999999999 (column 1 of `99999999999999999999`)");
}

TEST(ExpressionTest, WrongTypesAreErrorsAndNotFalse) {
  EXPECT_EQ(Evaluate("model.type == 3"),
            "want values of one type on both sides of ==, got \"saffu\" "
            "and 3 (column 12 of `model.type == 3`)");
  EXPECT_EQ(Evaluate("flag < true"),
            "want numbers or strings on both sides of <, got true and true "
            "(column 6 of `flag < true`)");
  EXPECT_EQ(Evaluate("'a' * 3"),
            "want numbers on both sides of *, got \"a\" and 3 (column 5 of `'a' * 3`)");
  EXPECT_EQ(Evaluate("1 and true"), "want true or false for and, got 1 (column 3 of `1 and true`)");
  EXPECT_EQ(Evaluate("-'a'"), "want a number after -, got \"a\" (column 1 of `-'a'`)");
  EXPECT_EQ(Evaluate("3 in 'abc'"),
            "want a [list], or strings on both sides of in, got 3 and \"abc\" "
            "(column 3 of `3 in 'abc'`)");
}

TEST(ExpressionTest, ResultsThatDoNotFitAreErrorsWithTheOperands) {
  EXPECT_EQ(Evaluate("model.bits / zero"),
            "want a divisor other than zero, got 64 / 0 (column 12 of `model.bits / zero`)");
  EXPECT_EQ(Evaluate("5 % 0.0"),
            "want a divisor other than zero, got 5 % 0.0 (column 3 of `5 % 0.0`)");
  EXPECT_EQ(Evaluate("largest + 1"),
            "want an integer of 64 bits, got 9223372036854775807 + 1, which is "
            "larger (column 9 of `largest + 1`)");
  EXPECT_EQ(Evaluate("2 ** 63"),
            "want an integer of 64 bits, got 2 ** 63, which is larger (column 3 of `2 ** 63`)");
  EXPECT_EQ(
      Evaluate("(-largest - 1) // -1"),
      "want an integer of 64 bits, got -9223372036854775808 // -1, which is larger (column 16 of "
      "`(-largest - 1) // -1`)");
  EXPECT_EQ(Evaluate("(-largest - 1) % -1"), "0");
  EXPECT_EQ(Evaluate("1e300 * 1e300"),
            "want a finite result, got 1e+300 * 1e+300 = inf (column 7 of `1e300 * 1e300`)");
  EXPECT_EQ(Evaluate("(-8.0) ** 0.5"),
            "want a finite result, got -8.0 ** 0.5 = nan (column 8 of `(-8.0) ** 0.5`)");
  EXPECT_EQ(Evaluate("sqrt(-1)"), "want sqrt() of at least 0, got -1 (column 1 of `sqrt(-1)`)");
  EXPECT_EQ(Evaluate("log2(0)"), "want log2() of more than 0, got 0 (column 1 of `log2(0)`)");
  EXPECT_EQ(Evaluate("round(1e30)"),
            "want an integer of 64 bits, got round(1e+30) (column 1 of `round(1e30)`)");
}

TEST(ExpressionTest, CostIsBoundedWhenParsed) {
  // Each level of a chain in a chain doubles the work: a < (…) < b reads the middle twice.
  std::string chain = "1";
  for (int i = 0; i < 12; ++i) chain = absl::StrCat("1 + (0 if 1 <= (", chain, ") <= 2 else 1)");
  EXPECT_NE(Evaluate(chain).find("want at most 4096 operations, got more: too costly"),
            std::string::npos)
      << Evaluate(chain);
  const auto small = Expression::Parse("1 + 2 * 3");
  ASSERT_TRUE(small.ok());
  EXPECT_EQ(small->cost(), 5);

  std::string minus(100, '-');
  EXPECT_NE(Evaluate(minus + "1").find("levels of nesting"), std::string::npos);
  std::string nots;
  for (int i = 0; i < 100; ++i) nots += "not ";
  EXPECT_NE(Evaluate(nots + "true").find("levels of nesting"), std::string::npos);
  // A long sum is no deep one.
  std::string sum = "0";
  for (int i = 0; i < 1000; ++i) sum += "+1";
  EXPECT_EQ(Evaluate(sum), "1000");
}

TEST(ExpressionTest, StringsDoNotGrowWithoutBound) {
  std::string text = "'0123456789012345678901234567890123456789012345678901234567890123'";
  std::string doubled = text;
  for (int i = 0; i < 50; ++i) doubled = absl::StrCat(doubled, "+", text);
  EXPECT_EQ(Evaluate(doubled + " == 'x'"), "false");
  // Sixty-four values of four thousand bytes, through a name.
  const ParamValue large = std::string(4000, 'x');
  const auto expression = Expression::Parse("s + s");
  ASSERT_TRUE(expression.ok());
  EXPECT_EQ(expression->Evaluate({&large}).status().message(),
            "want a string of at most 4096 bytes, got 8000: too costly (column 3 of `s + s`)");
}

TEST(ExpressionTest, LongTextsAreCutAroundTheColumn) {
  std::string text(200, ' ');
  text += "1 +";
  const std::string message = Evaluate(text);
  EXPECT_NE(message.find("column 204 of `…"), std::string::npos) << message;
  EXPECT_LT(message.size(), 200u);
}

TEST(ExpressionTest, WordsOfTheLanguageAreKnown) {
  for (const char* word :
       {"and", "or", "not", "in", "if", "else", "true", "false", "min", "log2"}) {
    EXPECT_TRUE(IsExpressionWord(word)) << word;
  }
  EXPECT_FALSE(IsExpressionWord("tokens"));
}

}  // namespace
}  // namespace saffron
