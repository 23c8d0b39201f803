#include "coordinator/store/backup.h"

#include <fstream>

#include "coordinator/store/filesystem.h"
#include "coordinator/store/integrity.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/unit/coordinator_store/store_fixture.h"

namespace saffron {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;

class BackupTest : public StoreTest {
 protected:
  std::string copy = folder.File("copy.db");
};

TEST_F(BackupTest, ACopyTakenWhileTheCoordinatorWritesIsOneMomentOfIt) {
  Submit(SmallSweep("a", {1, 2, 3}));
  // A transaction under way is not in it; one that commits while pages are copied is not either.
  ASSERT_TRUE(store->Begin().ok());
  ASSERT_TRUE(store->RecordEvent("cancel", std::nullopt, std::nullopt, "under way", now).ok());
  bool committed = false;
  const auto bytes =
      BackupDatabase({.from = path, .to = copy, .on_progress = [&](int64_t, int64_t) {
                        if (committed) return;
                        committed = true;
                        EXPECT_TRUE(store->Commit().ok());
                      }});
  ASSERT_TRUE(bytes.ok()) << bytes.status();
  EXPECT_TRUE(committed);
  EXPECT_GT(*bytes, 0);
  EXPECT_EQ(Query("SELECT count(*) FROM events WHERE kind = 'cancel'"), "1");
  path = copy;
  EXPECT_EQ(Query("SELECT count(*) FROM events WHERE kind = 'cancel'"), "0");
  EXPECT_EQ(Query("SELECT count(*) FROM trials"), "3");
  Database db = *Database::Open(copy, Database::Mode::kReadOnly);
  EXPECT_THAT(CheckIntegrity(db, true)->problems, IsEmpty());
}

TEST_F(BackupTest, ACoordinatorGoesOnFromTheCopy) {
  Submit(SmallSweep("a", {1, 2}));
  const std::string id = store->coordinator_id();
  ASSERT_TRUE(BackupDatabase({.from = path, .to = copy}).ok());
  path = copy;
  Reopen();
  EXPECT_EQ(store->coordinator_id(), id);
  EXPECT_EQ(store->LoadSnapshot()->trials.size(), 2u);
}

TEST_F(BackupTest, TheCopyKnowsTheFilesThatAreKept) {
  Submit(SmallSweep("a", {1}));
  TrialId trial{1};
  const auto record = [&](char digest, const std::string& kind, const std::string& role) {
    return store->RecordArtifact(
        {trial, 1},
        {.sha256 = std::string(64, digest), .bytes = 10, .kind = kind, .role = role, .step = 3},
        now);
  };
  ASSERT_TRUE(record('a', kCheckpointArtifact, "best").ok());
  ASSERT_TRUE(record('b', kTraceArtifact, "routing").ok());
  ASSERT_TRUE(record('c', kStateArtifact, "").ok());
  ASSERT_TRUE(store->GiveUpStates(trial, 4, now).ok());
  ASSERT_TRUE(BackupDatabase({.from = path, .to = copy}).ok());
  path = copy;
  Reopen();
  EXPECT_EQ(*store->KeptDigests(),
            (std::set<std::string>{std::string(64, 'a'), std::string(64, 'b')}));
}

TEST_F(BackupTest, AnExistingFileIsReplacedOnlyWhenAsked) {
  std::ofstream(copy) << "precious";
  EXPECT_TRUE(absl::IsAlreadyExists(BackupDatabase({.from = path, .to = copy}).status()));
  EXPECT_EQ(std::filesystem::file_size(copy), 8u);
  EXPECT_TRUE(BackupDatabase({.from = path, .to = copy, .overwrite = true}).ok());
  EXPECT_GT(std::filesystem::file_size(copy), 8u);
}

TEST_F(BackupTest, TheDatabaseIsNeverCopiedOntoItselfByAnyName) {
  std::filesystem::create_symlink(path, copy);
  const auto refused = BackupDatabase({.from = path, .to = copy, .overwrite = true});
  EXPECT_TRUE(absl::IsFailedPrecondition(refused.status())) << refused.status();
}

TEST_F(BackupTest, NothingThatTheDatabaseConsistsOfIsReplaced) {
  for (const char* ending : {"-wal", "-shm", "-journal", ".lock", ".address", ".artifacts"}) {
    const std::string dotted = folder.File("./") + std::filesystem::path(path).filename().string();
    for (const std::string& name : {path, dotted}) {
      const auto refused =
          BackupDatabase({.from = path, .to = name + ending, .overwrite = true}).status();
      EXPECT_TRUE(absl::IsFailedPrecondition(refused)) << name << ending << ": " << refused;
    }
  }
  EXPECT_TRUE(store->LoadSnapshot().ok());
}

TEST_F(BackupTest, AFailedCopyLeavesNothingBehind) {
  const std::string nowhere = folder.File("no/such/folder/copy.db");
  EXPECT_FALSE(BackupDatabase({.from = path, .to = nowhere}).ok());
  EXPECT_TRUE(absl::IsNotFound(BackupDatabase({.from = copy, .to = nowhere}).status()));
  std::ofstream(folder.File("text.db")) << std::string(5000, 'x');
  const auto refused = BackupDatabase({.from = folder.File("text.db"), .to = copy});
  EXPECT_TRUE(absl::IsFailedPrecondition(refused.status()));
  int files = 0;
  for (const auto& entry : std::filesystem::directory_iterator(folder.File(""))) {
    files += entry.path().string().find("partial") != std::string::npos;
  }
  EXPECT_EQ(files, 0);
  EXPECT_FALSE(std::filesystem::exists(copy));
}

TEST(Filesystem, NetworkFileSystemsAreKnownByName) {
  EXPECT_EQ(NetworkFilesystemName(0x6969, "nfs4"), "NFS");
  EXPECT_EQ(NetworkFilesystemName(static_cast<int32_t>(0xFF534D42), "cifs"), "CIFS")
      << "the number is signed on some machines";
  EXPECT_EQ(NetworkFilesystemName(0x65735546, "fuse.sshfs"), "fuse.sshfs");
  EXPECT_EQ(NetworkFilesystemName(0x65735546, "fuse.ntfs-3g"), "");
  EXPECT_EQ(NetworkFilesystemName(0xEF53, "ext4"), "");
  EXPECT_EQ(NetworkFilesystemName(0x01021994, "tmpfs"), "");
}

TEST(Filesystem, ThisMachinesDiskIsFine) {
  EXPECT_TRUE(CheckFilesystem(testing::TempDir() + "results.db").ok());
}

}  // namespace
}  // namespace saffron
