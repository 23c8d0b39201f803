#include "core/data/files.h"

#include <gmock/gmock.h>

#include <atomic>
#include <optional>
#include <thread>

#include "tests/unit/core_data/scratch.h"

namespace saffron {
namespace {

using testing::HasSubstr;

std::vector<std::string> NamesIn(const std::string& folder) {
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    names.push_back(entry.path().filename().string());
  }
  return names;
}

TEST(Files, AWriteReplacesTheWholeFileAndLeavesNoOther) {
  Scratch scratch;
  const std::string path = scratch.Path("file");
  ASSERT_TRUE(WriteFileDurably(path, {"a longer first content"}).ok());
  ASSERT_TRUE(WriteFileAtomically(path, {"two", "", " parts"}).ok());
  EXPECT_EQ(*ReadWholeFile(path), "two parts");
  EXPECT_THAT(NamesIn(scratch.Path("")), testing::ElementsAre("file"));
}

TEST(Files, AFailedWriteNamesThePathAndLeavesNothing) {
  Scratch scratch;
  const absl::Status status = WriteFileDurably(scratch.Path("missing/file"), {"x"});
  EXPECT_EQ(status.code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(std::string(status.message()), HasSubstr("missing/file"));
  std::filesystem::create_directories(scratch.Path("folder/in_the_way"));
  EXPECT_FALSE(WriteFileDurably(scratch.Path("folder"), {"x"}).ok());
  EXPECT_THAT(NamesIn(scratch.Path("")), testing::ElementsAre("folder"));
}

TEST(Files, ANameThatCannotBeMadeToLastIsAnError) {
  Scratch scratch;
  EXPECT_TRUE(SyncFolderOf(scratch.Path("any")).ok());
  const absl::Status status = SyncFolderOf(scratch.Path("gone/any"));
  EXPECT_EQ(status.code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(std::string(status.message()), HasSubstr("gone"));
}

TEST(Files, SystemErrorsBecomeTheStatusesThatCallersTellApart) {
  EXPECT_EQ(FileError("write", "f", ENOSPC).code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(FileError("open", "f", EACCES).code(), absl::StatusCode::kPermissionDenied);
  EXPECT_EQ(FileError("open", "f", EROFS).code(), absl::StatusCode::kPermissionDenied);
  EXPECT_EQ(FileError("open", "f", ENOENT).code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(FileError("read", "f", EIO).code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(FileError("write", "f", ENOSPC).message(), "f: cannot write: No space left on device");
}

TEST(Files, ReadingWhatIsNoRegularFileIsRefused) {
  Scratch scratch;
  EXPECT_EQ(ReadWholeFile(scratch.Path("")).status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(ReadWholeFile("/dev/null").status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(ReadWholeFile(scratch.Path("none")).status().code(), absl::StatusCode::kNotFound);
}

TEST(Files, ASealHoldsUntilAnyBitChanges) {
  Scratch scratch;
  const std::string path = scratch.Path("sealed");
  ASSERT_TRUE(WriteSealedFile(path, "content").ok());
  EXPECT_EQ(*ReadSealedFile(path), "content");
  const std::string good = FileBytes(path);
  for (size_t at = 0; at < good.size(); ++at) {
    std::string bad = good;
    bad[at] ^= 1;
    scratch.Write("sealed", bad);
    EXPECT_EQ(ReadSealedFile(path).status().code(), absl::StatusCode::kDataLoss) << at;
    scratch.Write("sealed", good.substr(0, at));
    EXPECT_EQ(ReadSealedFile(path).status().code(), absl::StatusCode::kDataLoss) << at;
  }
}

TEST(Files, ALockKeepsASecondHolderOutUntilTheFirstIsGone) {
  Scratch scratch;
  std::optional<FileLock> first = *FileLock::Acquire(scratch.Path("lock"));
  std::atomic<bool> released = false;
  std::atomic<bool> overlapped = false;
  std::thread second([&] {
    const auto lock = FileLock::Acquire(scratch.Path("lock"));
    overlapped = !lock.ok() || !released.load();
  });
  std::this_thread::sleep_for(std::chrono::milliseconds(20));
  released = true;
  first.reset();
  second.join();
  EXPECT_FALSE(overlapped);
}

}  // namespace
}  // namespace saffron
