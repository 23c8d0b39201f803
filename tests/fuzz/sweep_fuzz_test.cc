// The sweep reader, the expander and expressions against hostile input (mutator.h).

#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "tests/fuzz/mutator.h"
#include "tests/fuzz/sweep_fuzz_target.h"

namespace saffron {
namespace {

TEST(SweepFuzzTest, TheCorpusBreaksNothing) {
  const std::vector<std::string> corpus = Corpus("sweep");
  EXPECT_GE(corpus.size(), 10u);
  for (const std::string& text : corpus) FuzzSweep(text);
}

TEST(SweepFuzzTest, MutatedSweepsBreakNothing) {
  Fuzz("sweep",
       {"\n",
        "  ",
        "\t",
        ": ",
        "- ",
        "[",
        "]",
        "{",
        "}",
        ",",
        "\"",
        "'",
        "&a ",
        "*a",
        "<<",
        "!!str ",
        "---\n",
        "|\n",
        "\\u00e9",
        "\xFF",
        "\xC3\xA9",
        "null",
        "true",
        "no",
        "010",
        "-1",
        "1e308",
        "1e-3",
        "9223372036854775807",
        "= 1 / 0",
        "= tokens",
        "model.bits",
        "train.lr",
        "values: ",
        "min: ",
        "max: ",
        "count: ",
        "distribution: normal",
        "method: random\n",
        "parameters: ",
        "zip: ",
        "derived: ",
        "when: ",
        "exclude: ",
        "ablate: ",
        "groups: ",
        "blocks:\n",
        "baseline: ",
        "limits: ",
        "\"integer\": ",
        "values { integer: 5 }",
        "position { line: 3 }"},
       5000, FuzzSweep);
}

TEST(SweepFuzzTest, TheExpressionCorpusBreaksNothing) {
  const std::vector<std::string> corpus = Corpus("expression");
  EXPECT_GE(corpus.size(), 5u);
  for (const std::string& text : corpus) FuzzExpression(text);
}

TEST(SweepFuzzTest, MutatedExpressionsBreakNothing) {
  Fuzz("expression",
       {"(",
        ")",
        "[",
        "]",
        ",",
        " + ",
        " - ",
        " * ",
        " / ",
        " // ",
        " % ",
        " ** ",
        " < ",
        " == ",
        " in ",
        " not ",
        " and ",
        " or ",
        " if ",
        " else ",
        "!",
        "&&",
        "min(",
        "round(",
        "log2(",
        "'a'",
        "a.b",
        "9223372036854775807",
        "-9223372036854775808",
        "1e308",
        "0",
        "true"},
       50000, FuzzExpression);
}

}  // namespace
}  // namespace saffron
