#include "coordinator/artifacts/artifact_store.h"

#include <stdlib.h>
#include <sys/stat.h>

#include <filesystem>
#include <fstream>

#include "core/base/digest.h"
#include "core/data/files.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace saffron {
namespace {

class ArtifactStoreTest : public testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = testing::TempDir() + "/artifacts.XXXXXX";
    ASSERT_NE(mkdtemp(pattern.data()), nullptr);
    dir_ = pattern;
    store_ = std::make_unique<ArtifactStore>(
        ArtifactStore::Options{.root = dir_ + "/db.artifacts", .bytes_max = 1000});
  }
  void TearDown() override { std::filesystem::remove_all(dir_); }

  static ArtifactId IdOf(const std::string& text) {
    return {Sha256Hex(text), static_cast<int64_t>(text.size())};
  }
  std::string File(const std::string& name, const std::string& text) {
    std::ofstream(dir_ + "/" + name, std::ios::binary) << text;
    return dir_ + "/" + name;
  }
  absl::Status Upload(const ArtifactId& id, int64_t offset, const std::string& data) {
    auto upload = store_->Begin(id, offset);
    if (!upload.ok()) return upload.status();
    if (const absl::Status written = (*upload)->Write(data); !written.ok()) return written;
    return (*upload)->Finish();
  }

  std::string dir_;
  std::unique_ptr<ArtifactStore> store_;
};

TEST_F(ArtifactStoreTest, AFileOfThisMachineIsTakenInUnderItsDigest) {
  const ArtifactId id = IdOf("weights");
  EXPECT_FALSE(store_->Has(id));
  ASSERT_TRUE(store_->Adopt(id, File("a", "weights")).ok());
  EXPECT_TRUE(store_->Has(id));
  EXPECT_EQ(*ReadWholeFile(store_->PathOf(id.sha256)), "weights");
  EXPECT_EQ(store_->PathOf(id.sha256),
            dir_ + "/db.artifacts/" + id.sha256.substr(0, 2) + "/" + id.sha256.substr(2));
  std::filesystem::remove(dir_ + "/a");
  EXPECT_TRUE(store_->Has(id));
}

TEST_F(ArtifactStoreTest, OtherBytesUnderADigestAreRefused) {
  EXPECT_EQ(store_->Adopt(IdOf("weights"), File("a", "WEIGHTS")).code(),
            absl::StatusCode::kDataLoss);
  EXPECT_EQ(store_->Adopt(IdOf("weights"), File("b", "longer than that")).code(),
            absl::StatusCode::kNotFound);
  EXPECT_EQ(Upload(IdOf("weights"), 0, "WEIGHTS").code(), absl::StatusCode::kDataLoss);
  EXPECT_EQ(store_->Received(IdOf("weights")), 0) << "the wrong bytes were kept";
  EXPECT_FALSE(store_->Has(IdOf("weights")));
}

TEST_F(ArtifactStoreTest, NothingButARegularFileIsTakenIn) {
  const ArtifactId id = IdOf("weights");
  File("a", "weights");
  std::filesystem::create_symlink(dir_ + "/a", dir_ + "/link");
  ASSERT_EQ(mkfifo((dir_ + "/fifo").c_str(), 0600), 0);
  for (const char* name : {"link", "fifo", "none", "."}) {
    EXPECT_EQ(store_->Adopt(id, dir_ + "/" + name).code(), absl::StatusCode::kNotFound) << name;
  }
}

TEST_F(ArtifactStoreTest, WhatIsNoDigestOrTooLongIsRefused) {
  const std::string good = Sha256Hex("x");
  EXPECT_TRUE(store_->Check({good, 1000}).ok());
  for (const ArtifactId& id :
       {ArtifactId{"", 1}, ArtifactId{"../../etc/passwd", 1}, ArtifactId{good + "0", 1},
        ArtifactId{std::string(64, 'G'), 1}, ArtifactId{std::string(64, '/'), 1},
        ArtifactId{good, -1}, ArtifactId{good, 1001}}) {
    EXPECT_EQ(store_->Check(id).code(), absl::StatusCode::kInvalidArgument) << id.sha256;
    EXPECT_FALSE(store_->Begin(id, 0).ok());
  }
}

TEST_F(ArtifactStoreTest, AnUploadThatBrokeOffGoesOnWhereItStopped) {
  const ArtifactId id = IdOf("weights");
  {
    auto upload = store_->Begin(id, 0);
    ASSERT_TRUE(upload.ok()) << upload.status();
    ASSERT_TRUE((*upload)->Write("weig").ok());
    EXPECT_EQ(store_->Begin(id, 0).status().code(), absl::StatusCode::kAborted);
  }
  EXPECT_EQ(store_->Received(id), 4);
  EXPECT_EQ(store_->Begin(id, 0).status().code(), absl::StatusCode::kOutOfRange);
  ASSERT_TRUE(Upload(id, 4, "hts").ok());
  EXPECT_TRUE(store_->Has(id));
  EXPECT_EQ(store_->Received(id), 0);
}

TEST_F(ArtifactStoreTest, TooFewOrTooManyBytesAreNoFile) {
  const ArtifactId id = IdOf("weights");
  EXPECT_EQ(Upload(id, 0, "weightsweights").code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(Upload(id, 0, "weigh").code(), absl::StatusCode::kDataLoss);
  EXPECT_FALSE(store_->Has(id));
  EXPECT_TRUE(Upload(id, 5, "ts").ok()) << "what had arrived was thrown away";
}

TEST_F(ArtifactStoreTest, DeletingIsRepeatableAndKeepOnlyLeavesWhatIsWanted) {
  const ArtifactId a = IdOf("a"), b = IdOf("b"), c = IdOf("c");
  for (const char* text : {"a", "b", "c"}) ASSERT_TRUE(Upload(IdOf(text), 0, text).ok());
  EXPECT_TRUE(store_->Delete(a.sha256).ok());
  EXPECT_TRUE(store_->Delete(a.sha256).ok());
  EXPECT_FALSE(store_->Has(a));
  { ASSERT_TRUE((*store_->Begin(IdOf("arriving"), 0))->Write("arr").ok()); }
  EXPECT_EQ(*store_->KeepOnly({c.sha256}), 1);
  EXPECT_FALSE(store_->Has(b));
  EXPECT_TRUE(store_->Has(c));
  EXPECT_EQ(store_->Received(IdOf("arriving")), 3);
  EXPECT_EQ(*ArtifactStore({.root = dir_ + "/none"}).KeepOnly({}), 0);
}

}  // namespace
}  // namespace saffron
