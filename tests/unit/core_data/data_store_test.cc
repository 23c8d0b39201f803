#include "core/data/data_store.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <thread>

#include "absl/strings/str_cat.h"
#include "tests/unit/core_data/scratch.h"

namespace saffron {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

std::string Message(const absl::Status& status) { return std::string(status.message()); }

class DataStoreTest : public testing::Test {
 protected:
  absl::StatusOr<CorpusInfo> Add(const std::string& name, uint64_t seed = 1, bool replace = false) {
    return store_.AddText(name, WriteDocuments(scratch_, 20, seed), "", replace);
  }
  std::string DocumentsOf(const std::string& name) {
    return scratch_.Path("data/" + name + "/documents.bin");
  }
  // Changes one byte and puts the file's times back, as a careful liar would.
  void FlipByte(const std::string& path, bool keep_times) {
    struct stat before;
    ASSERT_EQ(::stat(path.c_str(), &before), 0);
    std::string bytes = FileBytes(path);
    bytes[bytes.size() / 2] ^= 1;
    std::ofstream(path, std::ios::binary) << bytes;
    const timespec times[2] = {before.st_atim, before.st_mtim};
    const timespec later[2] = {before.st_atim, {before.st_mtim.tv_sec + 5, 0}};
    ASSERT_EQ(::utimensat(AT_FDCWD, path.c_str(), keep_times ? times : later, 0), 0);
  }

  Scratch scratch_;
  DataStore store_{scratch_.Path("data")};
};

TEST_F(DataStoreTest, WhatWasAddedIsFoundWithItsFacts) {
  const auto added = Add("letters");
  ASSERT_TRUE(added.ok()) << added.status();
  const auto found = DataStore(scratch_.Path("data")).Find("letters");
  ASSERT_TRUE(found.ok()) << found.status();
  EXPECT_EQ(found->name, "letters");
  EXPECT_EQ(found->documents, 20);
  EXPECT_EQ(found->bytes, static_cast<int64_t>(FileBytes(DocumentsOf("letters")).size()));
  EXPECT_EQ(found->fingerprint, added->fingerprint);
  EXPECT_EQ(found->fingerprint.size(), 64u);
  EXPECT_THAT(found->origin, HasSubstr("1000.txt and 19 more"));
  EXPECT_THAT(found->added, testing::MatchesRegex("....-..-..T..:..:..Z"));
}

TEST_F(DataStoreTest, TheFingerprintDependsOnBytesOrderAndBoundariesOnly) {
  const auto files = WriteDocuments(scratch_, 20);
  const std::string first = Add("a")->fingerprint;
  EXPECT_EQ(Add("b")->fingerprint, first);
  auto swapped = files;
  std::swap(swapped[0], swapped[1]);
  EXPECT_NE(store_.AddText("c", swapped, "", false)->fingerprint, first);
  // The same bytes in all, one document more.
  std::string all;
  for (const std::string& file : files) all += FileBytes(file) + "\n%\n";
  const std::string shifted =
      store_.AddText("d", {scratch_.Write("all", all)}, "%", false)->fingerprint;
  EXPECT_NE(shifted, first);
}

TEST_F(DataStoreTest, AddingTheSameBytesAgainChangesNothing) {
  ASSERT_TRUE(Add("letters").ok());
  const std::string manifest = scratch_.Path("data/letters/corpus.json");
  const std::string before = FileBytes(manifest);
  scratch_.Write("data/letters/cache/kept", "x");
  ASSERT_TRUE(Add("letters").ok());
  ASSERT_TRUE(Add("letters", 1, /*replace=*/true).ok());
  EXPECT_EQ(FileBytes(manifest), before);
  EXPECT_EQ(FileBytes(scratch_.Path("data/letters/cache/kept")), "x");
}

TEST_F(DataStoreTest, OtherBytesUnderANameAreRefusedUnlessReplaced) {
  const std::string old = Add("letters")->fingerprint;
  const auto refused = Add("letters", 2);
  EXPECT_EQ(refused.status().code(), absl::StatusCode::kAlreadyExists);
  EXPECT_THAT(Message(refused.status()), HasSubstr("--replace"));
  EXPECT_THAT(Message(refused.status()), HasSubstr(old.substr(0, 12)));
  EXPECT_EQ(store_.Find("letters")->fingerprint, old);
  scratch_.Write("data/letters/cache/stale", "x");
  const auto replaced = Add("letters", 2, /*replace=*/true);
  ASSERT_TRUE(replaced.ok()) << replaced.status();
  EXPECT_EQ(store_.Find("letters")->fingerprint, replaced->fingerprint);
  EXPECT_NE(replaced->fingerprint, old);
  EXPECT_FALSE(std::filesystem::exists(scratch_.Path("data/letters/cache/stale")));
  EXPECT_FALSE(std::filesystem::exists(scratch_.Path("data/.incoming/corpus")));
}

TEST_F(DataStoreTest, BadNamesAreRefusedBeforeAnythingIsRead) {
  const std::vector<std::string> names = {"",      "../up",  "a/b",    ".hidden",           "-flag",
                                          "UPPER", "spa ce", "umläut", std::string(65, 'a')};
  for (const std::string& name : names) {
    EXPECT_EQ(store_.AddText(name, {"missing"}, "", false).status().code(),
              absl::StatusCode::kInvalidArgument);
    EXPECT_EQ(store_.Find(name).status().code(), absl::StatusCode::kInvalidArgument);
  }
  EXPECT_FALSE(std::filesystem::exists(scratch_.Path("data")));
}

TEST_F(DataStoreTest, HeldOutDocumentsThatTrainingSeesTooAreCounted) {
  std::vector<std::string> files = WriteDocuments(scratch_, 20, 1);
  EXPECT_EQ(store_.AddText("apart", files, "", false)->held_out_copies, 0);
  files[7] = files[0];  // the seventh is for testing, the thirteenth for validation
  files[13] = files[1];
  files[2] = files[3];
  EXPECT_EQ(store_.AddText("copies", files, "", false)->held_out_copies, 2);
}

TEST_F(DataStoreTest, TooFewDocumentsSaysHowToSplit) {
  const auto files = WriteDocuments(scratch_, 19);
  const auto few = store_.AddText("letters", files, "", false);
  EXPECT_EQ(few.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(Message(few.status()), HasSubstr("at least 20 documents"));
  EXPECT_THAT(Message(few.status()), HasSubstr("got 19"));
  EXPECT_THAT(Message(few.status()), HasSubstr("--separator"));
  EXPECT_EQ(store_.AddText("letters", {}, "", false).status().code(),
            absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(store_.Find("letters").status().code(), absl::StatusCode::kNotFound);
}

TEST_F(DataStoreTest, PartsTooShortToEvaluateAreRefusedWhenAdded) {
  auto files = WriteDocuments(scratch_, 20);
  scratch_.Write("texts/1013.txt", "Too short to hold a target.");
  const auto added = store_.AddText("letters", files, "", false);
  EXPECT_EQ(added.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(Message(added.status()), HasSubstr("validation documents have only 8 tokens"));
}

TEST_F(DataStoreTest, AnUnknownCorpusListsWhatThereIsAndHowToGetIt) {
  EXPECT_THAT(Message(store_.Find("sotu").status()), HasSubstr("nothing yet"));
  EXPECT_THAT(Message(store_.Find("sotu").status()), HasSubstr("saffron data fetch sotu"));
  ASSERT_TRUE(Add("letters").ok());
  const absl::Status status = store_.Text({.corpus = "leters"}).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(Message(status), HasSubstr("there is: letters"));
  EXPECT_THAT(Message(status), HasSubstr("saffron data add leters"));
}

TEST_F(DataStoreTest, ListIsByNameAndLeavesOutWhatIsNoCorpus) {
  EXPECT_TRUE(store_.List()->empty());
  ASSERT_TRUE(Add("b").ok());
  ASSERT_TRUE(Add("a").ok());
  scratch_.Write("data/broken/corpus.json", "{");
  scratch_.Write("data/empty/file", "");
  std::vector<std::string> names;
  const auto corpora = store_.List();
  for (const CorpusInfo& info : *corpora) names.push_back(info.name);
  EXPECT_THAT(names, ElementsAre("a", "b"));
}

TEST_F(DataStoreTest, ADamagedManifestIsDataLossAndReplaceable) {
  ASSERT_TRUE(Add("letters").ok());
  const std::string good = FileBytes(scratch_.Path("data/letters/corpus.json"));
  std::string lengthened = good;
  lengthened[good.find("\"lengths\":[") + 11] = '9';
  const std::vector<std::string> damages = {"{", "", "[1]", good.substr(0, good.size() / 2),
                                            lengthened};
  for (const std::string& bad : damages) {
    scratch_.Write("data/letters/corpus.json", bad);
    EXPECT_EQ(store_.Find("letters").status().code(), absl::StatusCode::kDataLoss) << bad;
    EXPECT_EQ(Add("letters").status().code(), absl::StatusCode::kDataLoss);
  }
  EXPECT_TRUE(Add("letters", 1, /*replace=*/true).ok());
  EXPECT_TRUE(store_.Find("letters").ok());
}

TEST_F(DataStoreTest, ChangedDocumentsAreFoundOut) {
  ASSERT_TRUE(Add("letters").ok());
  FlipByte(DocumentsOf("letters"), /*keep_times=*/false);
  const absl::Status status = store_.Find("letters").status();
  EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss);
  EXPECT_THAT(Message(status), HasSubstr("was changed after corpus \"letters\" was added"));
  EXPECT_THAT(Message(status), HasSubstr("saffron data add letters"));
}

TEST_F(DataStoreTest, DocumentsChangedBehindTheirTimesAreFoundOutWhenEncoded) {
  ASSERT_TRUE(Add("letters").ok());
  FlipByte(DocumentsOf("letters"), /*keep_times=*/true);
  EXPECT_TRUE(store_.Find("letters").ok());
  EXPECT_EQ(store_.Text({.corpus = "letters"}).status().code(), absl::StatusCode::kDataLoss);
}

TEST_F(DataStoreTest, ShortenedOrMissingDocumentsAreFoundOutAtOnce) {
  ASSERT_TRUE(Add("letters").ok());
  std::filesystem::resize_file(DocumentsOf("letters"), 100);
  EXPECT_THAT(Message(store_.Find("letters").status()), HasSubstr("found 100"));
  std::filesystem::remove(DocumentsOf("letters"));
  EXPECT_EQ(store_.Find("letters").status().code(), absl::StatusCode::kDataLoss);
}

TEST_F(DataStoreTest, ACopiedFolderIsAsGoodAsTheFirst) {
  const std::string fingerprint = Add("letters")->fingerprint;
  std::filesystem::copy(scratch_.Path("data"), scratch_.Path("copy"),
                        std::filesystem::copy_options::recursive);
  std::filesystem::last_write_time(
      scratch_.Path("copy/letters/documents.bin"),
      std::filesystem::file_time_type::clock::now() + std::chrono::hours(1));
  DataStore copy(scratch_.Path("copy"));
  EXPECT_EQ(copy.Find("letters")->fingerprint, fingerprint);
  EXPECT_EQ(copy.Find("letters")->fingerprint, fingerprint);
}

TEST_F(DataStoreTest, AFolderThatCannotBeWrittenIsNamed) {
  scratch_.Write("file", "in the way");
  DataStore store(scratch_.Path("file/data"));
  const absl::Status status =
      store.AddText("letters", WriteDocuments(scratch_, 20), "", false).status();
  EXPECT_FALSE(status.ok());
  EXPECT_THAT(Message(status), HasSubstr("file/data"));
}

TEST_F(DataStoreTest, ReadersAlwaysSeeOneCorpusOrTheOtherWhileItIsReplaced) {
  const std::string one = Add("letters", 1)->fingerprint;
  const std::string two = Add("other", 2)->fingerprint;
  std::atomic<bool> done = false;
  std::atomic<int> looks = 0;
  std::thread reader([&] {
    DataStore store(scratch_.Path("data"));
    while (!done) {
      const auto found = store.Find("letters");
      ASSERT_TRUE(found.ok()) << found.status();
      EXPECT_TRUE(found->fingerprint == one || found->fingerprint == two);
      const auto text = store.Text({.corpus = "letters"});
      ASSERT_TRUE(text.ok()) << text.status();
      EXPECT_TRUE((*text)->fingerprint == one || (*text)->fingerprint == two);
      ++looks;
    }
  });
  for (int i = 0; i < 5 || looks < 20; ++i) {
    ASSERT_TRUE(Add("letters", 2 - i % 2, /*replace=*/true).ok());
  }
  done = true;
  reader.join();
}

TEST_F(DataStoreTest, ProcessesThatAddAtOnceLeaveAWholeCorpus) {
  const auto files = WriteDocuments(scratch_, 20);
  std::vector<pid_t> children;
  for (int i = 0; i < 4; ++i) {
    const pid_t child = ::fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
      DataStore store(scratch_.Path("data"));
      _exit(store.AddText("letters", files, "", true).ok() ? 0 : 1);
    }
    children.push_back(child);
  }
  for (const pid_t child : children) {
    int status = 0;
    ASSERT_EQ(::waitpid(child, &status, 0), child);
    EXPECT_EQ(status, 0);
  }
  EXPECT_TRUE(store_.Find("letters").ok());
  EXPECT_TRUE(store_.Text({.corpus = "letters"}).ok());
}

TEST_F(DataStoreTest, AKillAtAnyMomentLeavesAWholeCorpus) {
  const auto one = WriteDocuments(scratch_, 20);
  const std::string first = store_.AddText("letters", one, "", false)->fingerprint;
  const std::string all = scratch_.Write("all", FileBytes(one[0]) + FileBytes(one[1]));
  auto two = one;
  two[0] = all;
  for (int i = 0; i < 12; ++i) {
    const pid_t child = ::fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
      DataStore store(scratch_.Path("data"));
      while (true) {
        for (const auto& files : {two, one}) {
          if (!store.AddText("letters", files, "", true).ok()) _exit(1);
        }
      }
    }
    std::this_thread::sleep_for(std::chrono::microseconds(1700 * i));
    ASSERT_EQ(::kill(child, SIGKILL), 0);
    int status = 0;
    ASSERT_EQ(::waitpid(child, &status, 0), child);
    ASSERT_TRUE(WIFSIGNALED(status));  // it had not failed before
    const auto found = store_.Find("letters");
    ASSERT_TRUE(found.ok()) << found.status();
    ASSERT_TRUE(store_.Text({.corpus = "letters"}).ok());
  }
  EXPECT_EQ(store_.AddText("letters", one, "", true)->fingerprint, first);
  EXPECT_FALSE(std::filesystem::exists(scratch_.Path("data/.incoming/corpus")));
}

TEST(DataStoreRoot, FollowsTheEnvironment) {
  const auto set = [](const char* name, const char* value) {
    value == nullptr ? ::unsetenv(name) : ::setenv(name, value, 1);
  };
  const auto get = [](const char* name) {
    const char* value = ::getenv(name);
    return std::string(value == nullptr ? "" : value);
  };
  const std::string data = get("SAFFRON_DATA"), xdg = get("XDG_DATA_HOME"), home = get("HOME");
  set("SAFFRON_DATA", "/here");
  EXPECT_EQ(DataStore::DefaultRoot(), "/here");
  set("SAFFRON_DATA", nullptr);
  set("XDG_DATA_HOME", "/xdg");
  EXPECT_EQ(DataStore::DefaultRoot(), "/xdg/saffron");
  set("XDG_DATA_HOME", nullptr);
  set("HOME", "/home/me");
  EXPECT_EQ(DataStore::DefaultRoot(), "/home/me/.local/share/saffron");
  set("HOME", home.c_str());
  if (!data.empty()) set("SAFFRON_DATA", data.c_str());
  if (!xdg.empty()) set("XDG_DATA_HOME", xdg.c_str());
}

}  // namespace
}  // namespace saffron
