// The checkpoint reader against hostile files (mutator.h).

#include "gtest/gtest.h"
#include "tests/fuzz/checkpoint_fuzz_target.h"
#include "tests/fuzz/mutator.h"

namespace saffron {
namespace {

TEST(CheckpointFuzzTest, TheCorpusBreaksNothing) {
  const std::vector<std::string> corpus = Corpus("checkpoint");
  EXPECT_GE(corpus.size(), 5u);
  for (const std::string& file : corpus) FuzzCheckpoint(file);
}

TEST(CheckpointFuzzTest, MutatedFilesBreakNothing) {
  Fuzz("checkpoint",
       {"{",
        "}",
        "[",
        "]",
        ",",
        ":",
        "\"",
        "\\",
        " ",
        "\n",
        "\"dtype\":",
        "\"F32\"",
        "\"F64\"",
        "\"I64\"",
        "\"BOOL\"",
        "\"shape\":",
        "\"data_offsets\":",
        "\"__metadata__\":",
        "\"w\"",
        "\"bias\"",
        "[0,0]",
        "[0,24]",
        "[2,3]",
        "0",
        "1",
        "-1",
        "1e3",
        "1.5",
        "9223372036854775807",
        "9223372036854775808",
        "4294967296",
        "null",
        "true",
        "\\u0000",
        "\xFF",
        "\xC3\xA9",
        "{\"a\":1}",
        "[[[["},
       50'000, FuzzCheckpoint);
}

}  // namespace
}  // namespace saffron
