#include "worker/checkpoint_folder.h"

#include <stdlib.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "worker/owned_file.h"

namespace saffron {
namespace {

namespace fs = std::filesystem;

class CheckpointFolderTest : public testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = (fs::temp_directory_path() / "checkpoints.XXXXXX").string();
    ASSERT_NE(mkdtemp(pattern.data()), nullptr);
    dir_ = pattern;
  }
  void TearDown() override { fs::remove_all(dir_); }

  std::string Lock(const std::string& worker) const {
    return absl::StrCat(dir_, "/coordinator.", worker, ".checkpoints/lock");
  }

  std::string dir_;
};

TEST_F(CheckpointFolderTest, AnEmptyFolderGoesWithItsWorker) {
  {
    CheckpointFolder folder(dir_, "w1");
    ASSERT_TRUE(folder.Open("coordinator").ok());
    EXPECT_TRUE(fs::exists(Lock("w1")));
    EXPECT_LT(OpenOrphan(Lock("w1")), 0) << "its worker lives";
  }
  EXPECT_TRUE(fs::is_empty(dir_));
}

TEST_F(CheckpointFolderTest, OneThatIsTakenForAnOrphanWhileItIsMadeIsMadeAnew) {
  fs::create_directories(fs::path(Lock("w1")).parent_path());
  const int adopter = OpenOwned(Lock("w1"));
  ASSERT_GE(adopter, 0);
  CheckpointFolder folder(dir_, "w1");
  std::thread opens([&] { EXPECT_TRUE(folder.Open("coordinator").ok()); });
  // Enough for one that would not wait to be done.
  std::this_thread::sleep_for(std::chrono::milliseconds(50));
  fs::remove(Lock("w1"));
  fs::remove(fs::path(Lock("w1")).parent_path());
  close(adopter);
  opens.join();
  EXPECT_TRUE(fs::exists(Lock("w1")));
  EXPECT_LT(OpenOrphan(Lock("w1")), 0) << "its worker lives";
}

TEST_F(CheckpointFolderTest, WorkersThatStartTogetherKeepTheirFolders) {
  std::vector<std::thread> workers;
  for (int w = 0; w < 4; ++w) {
    workers.emplace_back([this, w] {
      const std::string worker = absl::StrCat("w", w);
      for (int i = 0; i < 300; ++i) {
        CheckpointFolder folder(dir_, worker);
        ASSERT_TRUE(folder.Open("coordinator").ok());
        folder.Adopt();
        ASSERT_TRUE(fs::exists(Lock(worker))) << worker << ", time " << i;
      }
    });
  }
  for (std::thread& worker : workers) worker.join();
  EXPECT_TRUE(fs::is_empty(dir_));
}

}  // namespace
}  // namespace saffron
