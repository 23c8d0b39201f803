// The checkpoint reader against hostile files (mutator.h).

#include "core/checkpoint/safetensors.h"
#include "core/derive/growable_file.h"
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

// Whoever mutates a file that is refused at its first line tests nothing behind it.
TEST(CheckpointFuzzTest, TheCorpusReachesTheModelsThatGrow) {
  int models = 0, sparse = 0, states = 0;
  for (std::string file : Corpus("checkpoint")) {
    const uint64_t length = file.find('\n');
    if (file[0] == '{' && length != std::string::npos) {
      file.erase(length, 1);
      file.insert(0, reinterpret_cast<const char*>(&length), 8);
    }
    const auto parsed = Safetensors::Parse(file, "corpus");
    if (!parsed.ok()) continue;
    const auto model = ReadGrowable(*parsed);
    if (!model.ok()) continue;
    ++models;
    sparse += model->shape.layers[0].moe.sparse();
    states += !model->state.empty();
  }
  EXPECT_GE(models, 4);
  EXPECT_GE(sparse, 1);
  EXPECT_GE(states, 1);
}

TEST(CheckpointFuzzTest, AShapeOfABillionExpertsTakesNoMemory) {
  for (std::string file : Corpus("checkpoint")) {
    const std::string experts = "\\\"experts\\\":2";
    const size_t at = file.find(experts);
    if (at == std::string::npos) continue;
    FuzzCheckpoint(file.insert(at + experts.size(), "000000000"));
    return;
  }
  FAIL() << "no file with experts";
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
        "\"shape\":\"{}\"",
        "\\\"layers\\\":[]",
        "\\\"moe\\\":",
        "\\\"rope\\\"",
        "1000000000",
        "\"optimizer.m/w\"",
        "[[[["},
       50'000, FuzzCheckpoint);
}

}  // namespace
}  // namespace saffron
