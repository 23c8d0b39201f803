// Values of the statistics cache that are read in place.

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <string>

#include "core/solve/statistics_cache.h"

namespace saffron {
namespace {

class MappedStatistics : public testing::Test {
 protected:
  void SetUp() override {
    dir_ = testing::TempDir() + "/mapped_statistics_" +
           testing::UnitTest::GetInstance()->current_test_info()->name();
    std::filesystem::remove_all(dir_);
  }
  // The value of "key" of 100,000 bytes; counts how often it is made.
  std::string Get(StatisticsCache& cache) {
    const auto value = cache.MapOrCompute("key", [this] {
      ++made_;
      std::vector<char> bytes(100'000);
      for (size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<char>(i * i >> 3);
      return absl::StatusOr<std::vector<char>>(std::move(bytes));
    });
    EXPECT_TRUE(value.ok()) << value.status();
    EXPECT_EQ(reinterpret_cast<uintptr_t>(value->bytes.data()) % 8, 0u);
    return {value->bytes.begin(), value->bytes.end()};
  }
  std::string dir_;
  int made_ = 0;
};

TEST_F(MappedStatistics, AreTheSameFromDiskFromAUserAndAfresh) {
  StatisticsCache cache({.dir = dir_}), other({.dir = dir_}), none({});
  const std::string first = Get(cache);
  EXPECT_EQ(Get(other), first);
  EXPECT_EQ(made_, 1);
  EXPECT_EQ(other.counters().disk_hits, 1);
  EXPECT_EQ(Get(none), first);
  EXPECT_EQ(made_, 2);
}

TEST_F(MappedStatistics, AreSharedWhileSomebodyUsesThem) {
  StatisticsCache cache({.dir = dir_});
  const auto make = [] { return absl::StatusOr<std::vector<char>>(std::vector<char>(100, 'x')); };
  const auto one = cache.MapOrCompute("shared", make), two = cache.MapOrCompute("shared", make);
  ASSERT_TRUE(one.ok() && two.ok());
  EXPECT_EQ(one->bytes.data(), two->bytes.data());
  EXPECT_EQ(cache.counters().memory_hits, 1);
}

TEST_F(MappedStatistics, OutliveTheCacheAndItsFiles) {
  auto cache = std::make_unique<StatisticsCache>(StatisticsCache::Options{.dir = dir_});
  const auto value = cache->MapOrCompute(
      "kept", [] { return absl::StatusOr<std::vector<char>>(std::vector<char>(5000, 'x')); });
  ASSERT_TRUE(value.ok());
  cache.reset();
  std::filesystem::remove_all(dir_);
  EXPECT_EQ(std::string(value->bytes.begin(), value->bytes.end()), std::string(5000, 'x'));
}

TEST_F(MappedStatistics, AreMadeAgainWhereAFileIsDamaged) {
  StatisticsCache first({.dir = dir_});
  const std::string want = Get(first);
  for (const auto& file : std::filesystem::directory_iterator(dir_)) {
    std::fstream bytes(file.path(), std::ios::in | std::ios::out | std::ios::binary);
    bytes.seekp(50'000);
    bytes.put('!');
  }
  StatisticsCache second({.dir = dir_});
  EXPECT_EQ(Get(second), want);
  EXPECT_EQ(made_, 2);
  EXPECT_EQ(second.counters().damaged, 1);
  StatisticsCache third({.dir = dir_});
  EXPECT_EQ(Get(third), want);
  EXPECT_EQ(made_, 2);
}

TEST_F(MappedStatistics, ErrorsOfMakingThemAreNotKept) {
  StatisticsCache cache({.dir = dir_});
  EXPECT_EQ(cache
                .MapOrCompute(
                    "key",
                    []() -> absl::StatusOr<std::vector<char>> { return absl::DataLossError("no"); })
                .status()
                .code(),
            absl::StatusCode::kDataLoss);
  Get(cache);
  EXPECT_EQ(made_, 1);
}

}  // namespace
}  // namespace saffron
