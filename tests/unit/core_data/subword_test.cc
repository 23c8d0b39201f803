#include "core/data/subword.h"

#include <gmock/gmock.h>

#include "core/base/random.h"
#include "tests/unit/core_data/scratch.h"

namespace saffron {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

std::vector<std::string> Chunks(std::string_view text) {
  std::vector<std::string> chunks;
  ForEachChunk(text, [&](size_t begin, size_t end) {
    chunks.emplace_back(text.substr(begin, end - begin));
  });
  return chunks;
}

TEST(Chunks, AreWhatStandsBetweenWhiteSpace) {
  EXPECT_THAT(Chunks("  two words,\r\n\u00A0three\u3000"), ElementsAre("two", "words,", "three"));
  EXPECT_THAT(Chunks(" \n"), ElementsAre());
}

TEST(Chunks, AreCutBetweenCodePoints) {
  std::string text;
  for (size_t i = 0; i < kChunkBytesMax; ++i) text += "語";
  const auto chunks = Chunks(text);
  ASSERT_EQ(chunks.size(), 4u);
  std::string joined;
  for (const std::string& chunk : chunks) {
    EXPECT_LE(chunk.size(), kChunkBytesMax);
    EXPECT_EQ(chunk.size() % 3, 0u);
    joined += chunk;
  }
  EXPECT_EQ(joined, text);
}

TEST(Subwords, TheSameTextGivesTheSameModel) {
  const std::string text = RandomText(5, 3000);
  for (const char* kind : {"bpe", "unigram"}) {
    const auto first = TrainSubwords(kind, 90, {text});
    ASSERT_TRUE(first.ok()) << first.status();
    EXPECT_EQ(*first, *TrainSubwords(kind, 90, {text})) << kind;
    EXPECT_NE(*first, *TrainSubwords(kind, 80, {text})) << kind;
  }
}

TEST(Subwords, PiecesSpellTheChunkAndEndWithIt) {
  const auto model = TrainSubwords("bpe", 60, {RandomText(5, 3000)});
  const auto encoded = EncodeChunks(*model, {"abc", "b", "zzz9"});
  ASSERT_TRUE(encoded.ok()) << encoded.status();
  ASSERT_EQ(encoded->firsts.size(), 4u);
  EXPECT_EQ(encoded->firsts.back(), encoded->ids.size());
  const std::vector<std::string> expected = {"\u2581abc", "\u2581b", "\u2581zzz9"};
  const std::vector<uint32_t> sizes = {3, 1, 4};
  for (size_t chunk = 0; chunk < 3; ++chunk) {
    std::string spelled;
    for (size_t i = encoded->firsts[chunk]; i < encoded->firsts[chunk + 1]; ++i) {
      if (encoded->ids[i] == kSubwordUnknown) {
        spelled += "9";  // not among the 3,000 words
      } else {
        spelled += encoded->types[encoded->ids[i]];
      }
    }
    EXPECT_EQ(spelled, expected[chunk]);
    EXPECT_EQ(encoded->ends[encoded->firsts[chunk + 1] - 1], sizes[chunk]);
  }
}

TEST(Subwords, NoChunksGiveNoPiecesAndADamagedModelIsSaid) {
  const auto model = TrainSubwords("unigram", 60, {RandomText(5, 3000)});
  EXPECT_TRUE(EncodeChunks(*model, {})->ids.empty());
  EXPECT_EQ(EncodeChunks("not a model", {"a"}).status().code(), absl::StatusCode::kInternal);
}

TEST(Subwords, TextThatCannotBeTrainedOnIsRefusedNotFatal) {
  EXPECT_EQ(TrainSubwords("bpe", 60, {}).status().code(), absl::StatusCode::kInvalidArgument);
  const absl::Status small = TrainSubwords("unigram", 4, {RandomText(5, 3000)}).status();
  EXPECT_THAT(std::string(small.message()), HasSubstr("data.vocab: want at least "));
}

}  // namespace
}  // namespace saffron
