#include "worker/spool.h"

#include <stdlib.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace saffron {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

v1::SpoolRecord Record(int64_t trial, const std::string& message = "") {
  v1::SpoolRecord record;
  record.mutable_result()->mutable_ref()->set_trial_id(trial);
  record.mutable_result()->mutable_ref()->set_attempt(1);
  record.mutable_result()->set_message(message);
  return record;
}

std::vector<int64_t> Trials(const std::vector<v1::SpoolRecord>& records) {
  std::vector<int64_t> trials;
  for (const v1::SpoolRecord& record : records) trials.push_back(record.result().ref().trial_id());
  return trials;
}

class SpoolTest : public testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = (std::filesystem::temp_directory_path() / "spool.XXXXXX").string();
    ASSERT_NE(mkdtemp(pattern.data()), nullptr);
    dir_ = pattern;
  }
  void TearDown() override { std::filesystem::remove_all(dir_); }

  std::vector<std::string> Files() const {
    std::vector<std::string> names;
    for (const auto& entry : std::filesystem::directory_iterator(dir_)) {
      names.push_back(entry.path().filename().string());
    }
    std::sort(names.begin(), names.end());
    return names;
  }

  std::string dir_;
};

TEST_F(SpoolTest, ADeadWorkersResultsAreAdoptedByTheNext) {
  {
    Spool first(dir_, "one");
    ASSERT_TRUE(first.Open("coordinator").ok());
    ASSERT_TRUE(first.Append(Record(7), true).ok());
    ASSERT_TRUE(first.Append(Record(8), false).ok());
  }
  Spool second(dir_, "two");
  const auto adopted = second.Open("coordinator");
  ASSERT_TRUE(adopted.ok()) << adopted.status();
  EXPECT_THAT(Trials(*adopted), ElementsAre(7, 8));
  EXPECT_THAT(Files(), ElementsAre("coordinator.two.spool"));
}

TEST_F(SpoolTest, WorkersThatStartTogetherKeepTheirFiles) {
  std::vector<std::thread> workers;
  for (int w = 0; w < 4; ++w) {
    workers.emplace_back([this, w] {
      const std::string worker = absl::StrCat("w", w);
      for (int i = 0; i < 100; ++i) {
        Spool spool(dir_, worker);
        const auto adopted = spool.Open("coordinator");
        ASSERT_TRUE(adopted.ok()) << adopted.status();
        EXPECT_TRUE(adopted->empty()) << "of one that lives";
        ASSERT_TRUE(spool.Append(Record(i), false).ok());
        ASSERT_TRUE(std::filesystem::exists(absl::StrCat(dir_, "/coordinator.", worker, ".spool")))
            << worker << ", time " << i;
        spool.Forget(Record(i).result().ref());
      }
    });
  }
  for (std::thread& worker : workers) worker.join();
  EXPECT_THAT(Files(), IsEmpty());
}

TEST_F(SpoolTest, WhatWasAdoptedSurvivesTheAdopter) {
  {
    Spool first(dir_, "one");
    ASSERT_TRUE(first.Open("c").ok());
    ASSERT_TRUE(first.Append(Record(7), true).ok());
  }
  {
    Spool second(dir_, "two");
    ASSERT_TRUE(second.Open("c").ok());
  }
  Spool third(dir_, "three");
  EXPECT_THAT(Trials(*third.Open("c")), ElementsAre(7));
}

TEST_F(SpoolTest, ALivingWorkersResultsAreLeftAlone) {
  Spool living(dir_, "living");
  ASSERT_TRUE(living.Open("c").ok());
  ASSERT_TRUE(living.Append(Record(7), true).ok());
  Spool other(dir_, "other");
  EXPECT_TRUE(other.Open("c")->empty());
}

TEST_F(SpoolTest, ResultsForAnotherCoordinatorAreLeftAlone) {
  {
    Spool first(dir_, "one");
    ASSERT_TRUE(first.Open("a").ok());
    ASSERT_TRUE(first.Append(Record(7), true).ok());
  }
  Spool second(dir_, "two");
  EXPECT_TRUE(second.Open("b")->empty());
  EXPECT_THAT(Trials(*second.Open("a")), ElementsAre(7));
}

TEST_F(SpoolTest, DeliveredResultsLeaveNoFileBehind) {
  {
    Spool spool(dir_, "one");
    ASSERT_TRUE(spool.Open("c").ok());
    ASSERT_TRUE(spool.Append(Record(7), true).ok());
    spool.Forget(Record(7).result().ref());
    EXPECT_EQ(spool.file_bytes(), 0);
  }
  EXPECT_THAT(Files(), IsEmpty());
}

TEST_F(SpoolTest, AFileTornAnywhereKeepsTheRecordsBeforeTheTear) {
  {
    Spool first(dir_, "one");
    ASSERT_TRUE(first.Open("c").ok());
    for (int trial = 1; trial <= 3; ++trial)
      ASSERT_TRUE(first.Append(Record(trial, "abc"), false).ok());
  }
  std::ifstream in(dir_ + "/c.one.spool", std::ios::binary);
  const std::string whole{std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
  const size_t one = whole.size() / 3;
  ASSERT_EQ(one * 3, whole.size());
  for (size_t length = 0; length <= whole.size(); ++length) {
    EXPECT_EQ(ReadSpool(std::string_view(whole).substr(0, length)).size(), length / one);
  }
  for (size_t at = 0; at < whole.size(); ++at) {
    std::string damaged = whole;
    damaged[at] ^= 0x40;
    EXPECT_EQ(ReadSpool(damaged).size(), at / one) << "byte " << at;
  }
}

TEST_F(SpoolTest, ABacklogOfDeliveredResultsIsDroppedFromTheFile) {
  Spool spool(dir_, "one");
  ASSERT_TRUE(spool.Open("c").ok());
  ASSERT_TRUE(spool.Append(Record(1, "kept"), false).ok());
  const std::string big(1 << 20, 'x');
  for (int trial = 2; trial < 40; ++trial) {
    ASSERT_TRUE(spool.Append(Record(trial, big), false).ok());
    spool.Forget(Record(trial).result().ref());
  }
  EXPECT_LT(spool.file_bytes(), 10 << 20);
  std::ifstream in(dir_ + "/c.one.spool", std::ios::binary);
  const std::string whole{std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
  EXPECT_EQ(ReadSpool(whole).at(0).result().message(), "kept");
}

TEST_F(SpoolTest, ADirectoryThatCannotBeWrittenIsAnErrorNotACrash) {
  Spool spool("/proc/nowhere", "one");
  EXPECT_TRUE(absl::IsUnavailable(spool.Open("c").status()));
  EXPECT_TRUE(absl::IsFailedPrecondition(spool.Append(Record(1), true)));
}

}  // namespace
}  // namespace saffron
