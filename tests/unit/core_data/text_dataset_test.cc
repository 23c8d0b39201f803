// DataStore::Text: streams, vocabularies and their cache.

#include <gmock/gmock.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <map>
#include <numeric>
#include <thread>

#include "core/data/data_store.h"
#include "core/data/split.h"
#include "core/data/streams.h"
#include "core/data/subword.h"
#include "core/data/word_tokenizer.h"
#include "tests/unit/core_data/scratch.h"

namespace saffron {
namespace {

using testing::HasSubstr;

using Words = std::vector<std::string>;

class TextDatasetTest : public testing::Test {
 protected:
  static constexpr int kDocuments = 45;

  TextDatasetTest() : files_(WriteDocuments(scratch_, kDocuments)) {
    if (!Store().AddText("letters", files_, "", false).ok()) abort();
  }

  // A store that holds nothing in memory yet.
  DataStore Store() { return DataStore(scratch_.Path("data")); }

  std::shared_ptr<const TextDataset> Text(TextRequest request = {}) {
    request.corpus = "letters";
    const auto data = Store().Text(request);
    EXPECT_TRUE(data.ok()) << data.status();
    return *data;
  }

  Words Stream(const std::vector<int64_t>& part) {
    Words words;
    for (const int64_t i : part) {
      for (std::string& word : WordTokens(FileBytes(files_[i]))) words.push_back(std::move(word));
      words.push_back("<eod>");
    }
    return words;
  }

  std::vector<std::string> CacheFiles(const std::string& extension) {
    std::vector<std::string> files;
    for (const auto& entry :
         std::filesystem::directory_iterator(scratch_.Path("data/letters/cache"))) {
      if (entry.path().extension() == extension) files.push_back(entry.path().string());
    }
    return files;
  }

  Scratch scratch_;
  std::vector<std::string> files_;
};

Words Spelled(const TextDataset& data, const std::vector<int32_t>& ids) {
  Words words;
  for (const int32_t id : ids) words.push_back(data.types[id]);
  return words;
}

void ExpectEqual(const TextDataset& a, const TextDataset& b) {
  EXPECT_EQ(a.fingerprint, b.fingerprint);
  EXPECT_EQ(a.stream_key, b.stream_key);
  EXPECT_EQ(a.vocab, b.vocab);
  EXPECT_EQ(a.eod, b.eod);
  EXPECT_EQ(a.types, b.types);
  EXPECT_EQ(a.train, b.train);
  EXPECT_EQ(a.valid, b.valid);
  EXPECT_EQ(a.test, b.test);
  EXPECT_EQ(a.valid_target_bytes, b.valid_target_bytes);
  EXPECT_EQ(a.test_target_bytes, b.test_target_bytes);
}

TEST_F(TextDatasetTest, AWholeVocabularySpellsTheSplitDocumentsInOrder) {
  const auto data = Text({.vocab = 1'000'000});
  const Split split = SplitDocuments(kDocuments);
  EXPECT_EQ(Spelled(*data, data->train), Stream(split.train));
  EXPECT_EQ(data->types[0], "<unk>");
  EXPECT_EQ(data->types[data->eod], "<eod>");
  EXPECT_EQ(data->vocab, static_cast<int>(data->types.size()));
  const Words test = Stream(split.test), spelled = Spelled(*data, data->test);
  ASSERT_EQ(spelled.size(), test.size());
  for (size_t t = 0; t < test.size(); ++t) {
    if (data->test[t] != 0) {
      ASSERT_EQ(spelled[t], test[t]);
    }
  }
}

TEST_F(TextDatasetTest, IdsAreByDescendingCountThenByString) {
  const auto data = Text({.vocab = 1'000'000});
  std::map<std::string, int> counts;
  for (const std::string& word : Stream(SplitDocuments(kDocuments).train)) ++counts[word];
  Words expected;
  for (const auto& [word, count] : counts) expected.push_back(word);
  std::stable_sort(expected.begin(), expected.end(),
                   [&](const auto& a, const auto& b) { return counts[a] > counts[b]; });
  expected.insert(expected.begin(), "<unk>");
  EXPECT_EQ(data->types, expected);
}

TEST_F(TextDatasetTest, ASmallerVocabularyMergesTheRareIdsIntoUnknown) {
  const auto large = Text({.vocab = 300});
  ASSERT_EQ(large->vocab, 300);
  for (const int vocab : {2, 3, 40, 299}) {
    const auto small = Text({.vocab = vocab});
    EXPECT_EQ(small->vocab, vocab);
    EXPECT_EQ(small->types, Words(large->types.begin(), large->types.begin() + vocab));
    EXPECT_EQ(small->eod, large->eod < vocab ? large->eod : 0);
    EXPECT_NE(small->stream_key, large->stream_key);
    for (const auto& [s, l] :
         {std::pair(&small->train, &large->train), std::pair(&small->valid, &large->valid),
          std::pair(&small->test, &large->test)}) {
      ASSERT_EQ(s->size(), l->size());
      for (size_t t = 0; t < s->size(); ++t) ASSERT_EQ((*s)[t], (*l)[t] < vocab ? (*l)[t] : 0);
    }
  }
}

TEST_F(TextDatasetTest, LessTrainingDataIsAPrefixUnderTheSameIds) {
  for (const char* tokenizer : {"word", "byte"}) {
    const auto all = Text({.tokenizer = tokenizer});
    const auto some = Text({.tokenizer = tokenizer, .train_tokens = 777, .eval_tokens = 100});
    EXPECT_EQ(some->stream_key, all->stream_key);
    EXPECT_EQ(some->types, all->types);
    EXPECT_EQ(some->train, std::vector<int32_t>(all->train.begin(), all->train.begin() + 777));
    EXPECT_EQ(some->valid, std::vector<int32_t>(all->valid.begin(), all->valid.begin() + 100));
    EXPECT_EQ(some->test, std::vector<int32_t>(all->test.begin(), all->test.begin() + 100));
  }
}

TEST_F(TextDatasetTest, BytesAreTheDocumentsWithAnEndEach) {
  const auto data = Text({.tokenizer = "byte", .vocab = 5});
  EXPECT_EQ(data->vocab, 257);
  EXPECT_EQ(data->eod, 256);
  EXPECT_EQ(data->types.size(), 257u);
  EXPECT_EQ(data->types['a'], "a");
  EXPECT_EQ(data->types[' '], "<0x20>");
  EXPECT_EQ(data->types[255], "<0xFF>");
  std::vector<int32_t> expected;
  for (const int64_t i : SplitDocuments(kDocuments).test) {
    for (const char c : FileBytes(files_[i])) expected.push_back(static_cast<unsigned char>(c));
    expected.push_back(256);
  }
  EXPECT_EQ(data->test, expected);
}

TEST_F(TextDatasetTest, AllTokenizersShareOutEveryByteOfTheEvaluatedText) {
  int64_t text_bytes = 0;
  for (const int64_t i : SplitDocuments(kDocuments).test) {
    text_bytes += static_cast<int64_t>(FileBytes(files_[i]).size());
  }
  for (const char* tokenizer : {"word", "byte", "bpe", "unigram"}) {
    const auto data = Text({.tokenizer = tokenizer, .vocab = 60});
    // The context's bytes are not counted; they are what the first ids spell.
    EXPECT_LT(data->test_target_bytes, text_bytes) << tokenizer;
    EXPECT_GT(data->test_target_bytes, text_bytes - 12 * kEvalContext) << tokenizer;
    EXPECT_GT(data->valid_target_bytes, 0) << tokenizer;
  }
  EXPECT_EQ(Text({.tokenizer = "byte"})->test_target_bytes, text_bytes - kEvalContext);
}

TEST_F(TextDatasetTest, WordTargetsCarryTheirTextAndTheSpaceBeforeIt) {
  const auto data = Text({.eval_tokens = kEvalContext + 3});
  const std::string text = LowerAscii(FileBytes(files_[SplitDocuments(kDocuments).test[0]]));
  std::vector<size_t> ends;
  ForEachWord(text, [&](size_t, size_t end) { ends.push_back(end); });
  EXPECT_EQ(data->test_target_bytes,
            static_cast<int64_t>(ends[kEvalContext + 2] - ends[kEvalContext - 1]));
}

TEST_F(TextDatasetTest, SubwordsCoverTheTextAndReserveTheirIds) {
  for (const char* tokenizer : {"bpe", "unigram"}) {
    const auto data = Text({.tokenizer = tokenizer, .vocab = 80});
    EXPECT_LE(data->vocab, 80);
    EXPECT_GT(data->vocab, 30);
    EXPECT_EQ(data->types[0], "<unk>");
    EXPECT_EQ(data->types[1], "<eod>");
    EXPECT_EQ(data->eod, 1);
    const Split split = SplitDocuments(kDocuments);
    EXPECT_EQ(std::count(data->test.begin(), data->test.end(), 1),
              static_cast<int64_t>(split.test.size()));
    std::string spelled, text;
    for (const int32_t id : data->train) {
      ASSERT_GE(id, 0);
      ASSERT_LT(id, data->vocab);
      spelled += id == 1 ? "" : data->types[id];
    }
    for (const int64_t i : split.train) {
      ForEachChunk(FileBytes(files_[i]), [&, document = FileBytes(files_[i])](size_t b, size_t e) {
        text += "\u2581" + document.substr(b, e - b);
      });
    }
    EXPECT_EQ(spelled, text);
  }
}

TEST_F(TextDatasetTest, ACachedEncodingEqualsAFreshOne) {
  for (const char* tokenizer : {"word", "byte", "bpe", "unigram"}) {
    const TextRequest request = {.tokenizer = tokenizer, .vocab = 70, .train_tokens = 2000};
    const auto fresh = Text(request);
    const auto cached = Text(request);
    EXPECT_NE(fresh, cached);
    ExpectEqual(*fresh, *cached);
    std::filesystem::remove_all(scratch_.Path("data/letters/cache"));
    ExpectEqual(*fresh, *Text(request));
  }
}

TEST_F(TextDatasetTest, DamagedCacheFilesAreMadeAnew) {
  for (const char* tokenizer : {"word", "bpe"}) {
    const TextRequest request = {.tokenizer = tokenizer, .vocab = 70};
    const auto good = Text(request);
    for (const std::string damage : {"flip", "cut", "empty", "noise"}) {
      for (const char* extension : {".streams", ".model"}) {
        for (const std::string& file : CacheFiles(extension)) {
          std::string bytes = FileBytes(file);
          if (damage == "flip") bytes[bytes.size() / 3] ^= 4;
          if (damage == "cut") bytes.resize(bytes.size() - 1);
          if (damage == "empty") bytes.clear();
          if (damage == "noise") bytes = RandomText(3, 900);
          std::ofstream(file, std::ios::binary) << bytes;
        }
      }
      ExpectEqual(*good, *Text(request));
    }
    const std::string mended = CacheFiles(".streams").front();
    const auto before = std::filesystem::last_write_time(mended);
    ExpectEqual(*good, *Text(request));
    EXPECT_EQ(std::filesystem::last_write_time(mended), before);  // and was used this time
  }
}

TEST_F(TextDatasetTest, WhatAKilledWriterLeftIsClearedAwayByTheNext) {
  scratch_.Write("data/letters/cache/word.streams.7.0.tmp", "half a fi");
  Text();
  EXPECT_TRUE(CacheFiles(".tmp").empty());
  EXPECT_EQ(CacheFiles(".streams").size(), 1u);
}

TEST_F(TextDatasetTest, WithoutAPlaceForTheCacheOnlyTimeIsLost) {
  const auto good = Text();
  std::filesystem::remove_all(scratch_.Path("data/letters/cache"));
  scratch_.Write("data/letters/cache", "a file in the way");
  ExpectEqual(*good, *Text());
}

TEST_F(TextDatasetTest, AStoreHandsOutOneCopyAndFollowsAReplacedCorpus) {
  DataStore store = Store();
  const auto first = store.Text({.corpus = "letters"});
  EXPECT_EQ(*first, *store.Text({.corpus = "letters"}));
  ASSERT_TRUE(store.AddText("letters", WriteDocuments(scratch_, 30, 9), "", true).ok());
  const auto second = store.Text({.corpus = "letters"});
  ASSERT_TRUE(second.ok()) << second.status();
  EXPECT_NE((*second)->fingerprint, (*first)->fingerprint);
  EXPECT_NE((*second)->stream_key, (*first)->stream_key);
}

TEST_F(TextDatasetTest, RequestsOutOfRangeNameTheirKey) {
  const auto error = [&](TextRequest request) {
    request.corpus = "letters";
    const absl::Status status = Store().Text(request).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
    return std::string(status.message());
  };
  EXPECT_THAT(error({.tokenizer = "wrod"}), HasSubstr("data.tokenizer: want word, byte, bpe or"));
  EXPECT_THAT(error({.vocab = 1}), HasSubstr("data.vocab: want at least 2, got 1"));
  EXPECT_THAT(error({.train_tokens = 0}), HasSubstr("data.tokens"));
  EXPECT_THAT(error({.eval_tokens = kEvalContext}), HasSubstr("data.eval_tokens: want more than"));
  const std::string small = error({.tokenizer = "bpe", .vocab = 5});
  EXPECT_THAT(small, HasSubstr("\"letters\""));
  EXPECT_THAT(small, HasSubstr("data.vocab: want at least "));
  EXPECT_THAT(small, HasSubstr("got 5"));
}

TEST_F(TextDatasetTest, ThreadsAndProcessesThatEncodeAtOnceAgree) {
  const TextRequest request = {.corpus = "letters", .vocab = 100};
  const auto expected = Text(request);
  std::filesystem::remove_all(scratch_.Path("data/letters/cache"));
  std::vector<pid_t> children;
  for (int i = 0; i < 3; ++i) {
    const pid_t child = ::fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
      const auto data = Store().Text(request);
      _exit(data.ok() && (*data)->train == expected->train ? 0 : 1);
    }
    children.push_back(child);
  }
  DataStore shared = Store();
  std::vector<std::thread> threads;
  for (int i = 0; i < 3; ++i) {
    threads.emplace_back([&] { ExpectEqual(*expected, **shared.Text(request)); });
    threads.emplace_back([&] { ExpectEqual(*expected, **Store().Text(request)); });
  }
  for (std::thread& thread : threads) thread.join();
  for (const pid_t child : children) {
    int status = 0;
    ASSERT_EQ(::waitpid(child, &status, 0), child);
    EXPECT_EQ(status, 0);
  }
}

TEST(TextStreams, TheVocabularyComesFromTheFirstMillionTrainingTokens) {
  constexpr int kMany = 30, kLines = 10'000;
  static_assert(27 * (4 * kLines + 1) > kVocabularyTokens);
  Scratch scratch;
  const Split split = SplitDocuments(kMany);
  ASSERT_EQ(split.train.size(), 27u);
  std::vector<std::string> files;
  for (int64_t i = 0; i < kMany; ++i) {
    std::string text;
    for (int line = 0; line < kLines; ++line) text += "we hold these truths\n";
    if (i == split.train.front()) text += "early";
    if (i == split.train.back()) text += "late";
    files.push_back(scratch.Write(std::to_string(100 + i), text));
  }
  DataStore store(scratch.Path("data"));
  ASSERT_TRUE(store.AddText("long", files, "", false).ok());
  const auto data = store.Text({.corpus = "long", .train_tokens = INT64_MAX});
  ASSERT_TRUE(data.ok()) << data.status();
  // The millionth token is a "these": "truths" was counted once less.
  EXPECT_THAT((*data)->types,
              testing::ElementsAre("<unk>", "hold", "these", "we", "truths", "<eod>", "early"));
  EXPECT_EQ((*data)->train.size(), size_t{27 * (4 * kLines + 1) + 2});
  EXPECT_EQ((*data)->train[(*data)->train.size() - 2], 0);  // "late"
}

TEST(TextStreams, TextInOtherScriptsAndWithoutBlanksIsEncodedByAll) {
  Scratch scratch;
  std::vector<std::string> files;
  for (int i = 0; i < 20; ++i) {
    std::string text;
    for (int k = 0; k < 90; ++k) text += k % 3 ? "数据" : "модель\u3000";
    text += std::string(70'000, 'x') + "\u2581\u2585\t\x01 \r\n";
    files.push_back(scratch.Write(std::to_string(100 + i), text));
  }
  DataStore store(scratch.Path("data"));
  ASSERT_TRUE(store.AddText("strange", files, "", false).ok());
  for (const char* tokenizer : {"word", "byte", "bpe", "unigram"}) {
    const auto data = store.Text({.corpus = "strange", .tokenizer = tokenizer, .vocab = 40});
    ASSERT_TRUE(data.ok()) << tokenizer << data.status();
    EXPECT_GT((*data)->test_target_bytes, 0);
  }
}

TEST(TextStreams, AnEncodedFileReadsBackWhateverTheVocabularysWidth) {
  for (const size_t types : {size_t{3}, size_t{65536}, size_t{65537}}) {
    Streams streams;
    for (size_t i = 0; i < types; ++i) streams.types.push_back(i == 1 ? "" : std::to_string(i));
    streams.eod = 2;
    const auto last = static_cast<int32_t>(types - 1);
    streams.train = {0, last, 1};
    streams.valid = {last};
    streams.test = {2, last};
    streams.valid_bytes = {4'000'000'000u};
    streams.test_bytes = {0, 7};
    const auto read = ParseStreams(StreamsFile(streams), {});
    ASSERT_TRUE(read.has_value());
    EXPECT_EQ(read->types, streams.types);
    EXPECT_EQ(read->eod, streams.eod);
    EXPECT_EQ(read->train, streams.train);
    EXPECT_EQ(read->valid, streams.valid);
    EXPECT_EQ(read->test, streams.test);
    EXPECT_EQ(read->valid_bytes, streams.valid_bytes);
    EXPECT_EQ(read->test_bytes, streams.test_bytes);
    const auto cut = ParseStreams(StreamsFile(streams), {.train = 1, .eval = 1});
    EXPECT_EQ(cut->train, std::vector<int32_t>{0});
    EXPECT_EQ(cut->test, std::vector<int32_t>{2});
    EXPECT_EQ(cut->test_bytes, std::vector<uint32_t>{0});
  }
}

}  // namespace
}  // namespace saffron
