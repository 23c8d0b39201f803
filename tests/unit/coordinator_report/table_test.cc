#include "coordinator/report/table.h"

#include <sstream>

#include "coordinator/report/number_format.h"
#include "coordinator/report/scatter_plot.h"
#include "coordinator/report/text_width.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace saffron {
namespace {

using testing::HasSubstr;

std::string Printed(const ResultTable& table, const PrintOptions& options) {
  std::ostringstream out;
  PrintResult(table, options, out);
  return out.str();
}

const ResultTable kSample = {.columns = {"name", "n", "value"},
                             .rows = {{std::string("größe"), int64_t{12}, 103.94},
                                      {std::string("a,\"b\""), int64_t{5}, {}}}};

TEST(TextWidthTest, CountsColumnsNotBytes) {
  EXPECT_EQ(DisplayWidth("größe"), 5);
  EXPECT_EQ(DisplayWidth("日本"), 4);
  EXPECT_EQ(DisplayWidth("e\xCC\x81"), 1);  // e and a combining accent
  EXPECT_EQ(DisplayWidth("\xFF\xFE"), 2);   // not UTF-8: two replacement characters
}

TEST(TextWidthTest, CutsBetweenCharacters) {
  EXPECT_EQ(CutToWidth("größe", 5), "größe");
  EXPECT_EQ(CutToWidth("größe", 4), "grö…");
  EXPECT_EQ(CutToWidth("日本語", 4), "日…");
  EXPECT_EQ(CutToWidth("x", 0), "");
}

TEST(NumberFormatTest, KeepsFourDigitsAndWholeNumbersWhole) {
  EXPECT_EQ(FormatNumber(103.94), "103.9");
  EXPECT_EQ(FormatNumber(0.91428), "0.9143");
  EXPECT_EQ(FormatNumber(65536), "65536");
  EXPECT_EQ(FormatNumber(1310720), "1310720");
  EXPECT_EQ(FormatNumber(4.7104e11), "4.71e+11");
  EXPECT_EQ(FormatNumber(0.00002), "2e-05");
  EXPECT_EQ(FormatNumber(-1.0 / 0.0), "-inf");
}

TEST(NumberFormatTest, ChosenNumbersStayAsChosen) {
  EXPECT_EQ(FormatCell(0.003), "0.003");
  EXPECT_EQ(FormatCell(1e-08), "1e-08");
  EXPECT_EQ(FormatCell(0.30000000000000004), "0.3000");
}

TEST(NumberFormatTest, CountsChangeUnitBeforeTheyReadAThousand) {
  EXPECT_EQ(FormatCount(812), "812");
  EXPECT_EQ(FormatCount(999.6e3), "1M");
  EXPECT_EQ(FormatCount(1310720), "1.31M");
}

TEST(NumberFormatTest, DurationsCarryTheirUnit) {
  EXPECT_EQ(FormatSeconds(0.419), "0.42 s");
  EXPECT_EQ(FormatSeconds(14.23), "14.2 s");
  EXPECT_EQ(FormatSeconds(200), "3 min 20 s");
  EXPECT_EQ(FormatSeconds(7505), "2 h 05 min");
}

TEST(NumberFormatTest, ChangesSmallerThanShownAreNone) {
  EXPECT_EQ(FormatPercent(106.1, 100), "+6.1 %");
  EXPECT_EQ(FormatPercent(99.99, 100), "0 %");
  EXPECT_EQ(FormatPercent(95, 100), "−5.0 %");
  EXPECT_EQ(FormatPercent(1, 0), "");
}

TEST(PrintResultTest, TableAlignsNumbersRight) {
  EXPECT_EQ(Printed(kSample, {}),
            "name    n  value\n"
            "größe  12  103.9\n"
            "a,\"b\"   5\n");
}

TEST(PrintResultTest, JsonKeepsOrderAndTurnsNullIntoNull) {
  EXPECT_EQ(Printed(kSample, {.mode = OutputMode::kJson}),
            "[\n {\"name\":\"größe\",\"n\":12,\"value\":103.94},\n"
            " {\"name\":\"a,\\\"b\\\"\",\"n\":5,\"value\":null}\n]\n");
}

TEST(PrintResultTest, JsonOfNoRowsIsAnEmptyArray) {
  EXPECT_EQ(Printed({.columns = {"n"}, .rows = {}}, {.mode = OutputMode::kJson}), "[]\n");
}

TEST(PrintResultTest, JsonSurvivesTextThatIsNotUtf8) {
  EXPECT_EQ(
      Printed({.columns = {"s"}, .rows = {{std::string("a\xFF")}}}, {.mode = OutputMode::kJson}),
      "[\n {\"s\":\"a\xEF\xBF\xBD\"}\n]\n");
}

TEST(PrintResultTest, CsvQuotesWhatNeedsIt) {
  EXPECT_EQ(Printed(kSample, {.mode = OutputMode::kCsv}),
            "name,n,value\ngröße,12,103.94\n\"a,\"\"b\"\"\",5,\n");
}

TEST(PrintResultTest, QuietIsTheFirstColumnAlone) {
  EXPECT_EQ(Printed(kSample, {.mode = OutputMode::kQuiet}), "größe\na,\"b\"\n");
}

TEST(TextTableTest, ElasticColumnsGiveWayToTheTerminal) {
  TextTable table({{"id", TextTable::Align::kRight}, {"what", TextTable::Align::kLeft, true}});
  table.AddRow({"1", "a very long description of it"});
  std::ostringstream out;
  table.Print({.width = 20}, out);
  EXPECT_EQ(out.str(), "id  what\n 1  a very long des…\n");
}

TEST(TextTableTest, ControlCharactersCannotSteerTheTerminal) {
  TextTable table({{"what"}});
  table.AddRow({"a\033[31m\nb"});
  std::ostringstream out;
  table.Print({}, out);
  EXPECT_EQ(out.str(), "what\na [31m b\n");
}

TEST(TextTableTest, WithoutColourThereIsNoEscapeCode) {
  TextTable table({{"what"}});
  table.AddRow({"x"}, /*bold=*/true);
  std::ostringstream plain, coloured;
  table.Print({.colour = false}, plain);
  table.Print({.colour = true}, coloured);
  EXPECT_THAT(plain.str(), testing::Not(HasSubstr("\033")));
  EXPECT_THAT(coloured.str(), HasSubstr("\033[1mx"));
}

TEST(ScatterPlotTest, SmallXIsLeftAndSmallYIsDown) {
  std::ostringstream out;
  PrintScatter({{1, 1, 'a'}, {100, 100, 'b'}},
               {.width = 10, .height = 3, .indent = 0, .x_title = "x", .y_title = "y"}, out);
  EXPECT_EQ(out.str(),
            "y\n"
            "100 │         b\n"
            "    │\n"
            "  1 │a\n"
            "    └──────────\n"
            "     1  x   100\n");
}

TEST(ScatterPlotTest, PointsAboveTheLimitSitOnTheEdge) {
  std::ostringstream out;
  PrintScatter({{1, 1, 0}, {10, 10, 0}, {100, 1000, 'T'}},
               {.width = 8, .height = 2, .indent = 0, .x_title = "", .y_title = "", .y_max = 10},
               out);
  EXPECT_THAT(out.str(), HasSubstr("10 │"));
  EXPECT_THAT(out.str(), HasSubstr("T\n"));
}

TEST(PrintResultTest, JsonKeepsBothOfTwoColumnsOfOneName) {
  const ResultTable table = {
      .columns = {"a", "b", "a", "a:1", "a"},
      .rows = {{int64_t{1}, int64_t{2}, int64_t{3}, int64_t{4}, int64_t{5}}}};
  EXPECT_EQ(Printed(table, {.mode = OutputMode::kJson}),
            "[\n {\"a\":1,\"b\":2,\"a:2\":3,\"a:1\":4,\"a:3\":5}\n]\n");
  EXPECT_EQ(Printed(table, {.mode = OutputMode::kCsv}), "a,b,a,a:1,a\n1,2,3,4,5\n");
}

}  // namespace
}  // namespace saffron
