#include "core/solve/statistics_cache.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <thread>

namespace saffron {
namespace {

namespace fs = std::filesystem;

class StatisticsCacheTest : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = (fs::temp_directory_path() / "saffron_cache_XXXXXX").string();
    ASSERT_NE(mkdtemp(pattern.data()), nullptr);
    dir_ = pattern;
  }
  void TearDown() override { fs::remove_all(dir_); }

  StatisticsCache::Options OnDisk() const { return {.dir = dir_}; }
  std::vector<fs::path> Files() const {
    std::vector<fs::path> files;
    for (const auto& entry : fs::directory_iterator(dir_)) files.push_back(entry.path());
    return files;
  }

  std::string dir_;
};

std::vector<char> Value(char c, size_t bytes = 100) { return std::vector<char>(bytes, c); }

// Asks for `key`; returns the value's first byte and whether it had to be computed.
std::pair<char, bool> Ask(StatisticsCache& cache, const std::string& key, char c,
                          size_t bytes = 100) {
  bool computed = false;
  const auto value = cache.GetOrCompute(key, [&]() -> absl::StatusOr<std::vector<char>> {
    computed = true;
    return Value(c, bytes);
  });
  EXPECT_TRUE(value.ok()) << value.status();
  if (!value.ok()) return {0, computed};
  EXPECT_EQ((*value)->size(), bytes);
  return {(*value)->front(), computed};
}

TEST_F(StatisticsCacheTest, AValueIsComputedOnceThenFoundInMemoryThenOnDisk) {
  {
    StatisticsCache cache(OnDisk());
    EXPECT_EQ(Ask(cache, "a", 'x'), std::make_pair('x', true));
    EXPECT_EQ(Ask(cache, "a", 'y'), std::make_pair('x', false));
    EXPECT_EQ(cache.counters().memory_hits, 1);
    EXPECT_EQ(cache.counters().misses, 1);
  }
  StatisticsCache later(OnDisk());
  EXPECT_EQ(Ask(later, "a", 'y'), std::make_pair('x', false));
  EXPECT_EQ(later.counters().disk_hits, 1);
  EXPECT_EQ(later.counters().misses, 0);
}

TEST_F(StatisticsCacheTest, WithoutADirectoryNothingOutlivesTheProcess) {
  StatisticsCache cache({});
  Ask(cache, "a", 'x');
  EXPECT_EQ(Ask(cache, "a", 'y').second, false);
  StatisticsCache later({});
  EXPECT_EQ(Ask(later, "a", 'y').second, true);
}

TEST_F(StatisticsCacheTest, ADamagedFileIsReplacedAndCounted) {
  {
    StatisticsCache cache(OnDisk());
    Ask(cache, "a", 'x');
  }
  ASSERT_EQ(Files().size(), 1u);
  const auto size = static_cast<int64_t>(fs::file_size(Files()[0]));
  // A flipped bit anywhere, a cut anywhere, and an appended byte.
  for (int64_t at = 0; at < size; at += 7) {
    for (const bool cut : {false, true}) {
      if (cut) {
        fs::resize_file(Files()[0], at);
      } else {
        std::fstream file(Files()[0], std::ios::in | std::ios::out | std::ios::binary);
        file.seekg(at);
        const char byte = static_cast<char>(file.get() ^ 4);
        file.seekp(at);
        file.put(byte);
      }
      StatisticsCache cache(OnDisk());
      EXPECT_EQ(Ask(cache, "a", 'x'), std::make_pair('x', true)) << at << (cut ? " cut" : "");
      EXPECT_EQ(cache.counters().damaged, 1);
      StatisticsCache later(OnDisk());
      EXPECT_EQ(Ask(later, "a", 'y'), std::make_pair('x', false));
    }
  }
}

TEST_F(StatisticsCacheTest, AFileUnderAnotherKeysNameIsNotBelieved) {
  {
    StatisticsCache cache(OnDisk());
    Ask(cache, "a", 'x');
  }
  const fs::path a = Files()[0];
  {
    StatisticsCache cache(OnDisk());
    Ask(cache, "b", 'y');
  }
  for (const auto& file : Files()) {
    if (file != a) fs::copy_file(a, file, fs::copy_options::overwrite_existing);
  }
  StatisticsCache cache(OnDisk());
  EXPECT_EQ(Ask(cache, "b", 'z'), std::make_pair('z', true));
}

TEST_F(StatisticsCacheTest, MemoryKeepsWhatWasUsedLast) {
  StatisticsCache cache({.dir = "", .memory_bytes_max = 250});
  Ask(cache, "a", 'a');
  Ask(cache, "b", 'b');
  Ask(cache, "a", 'a');
  Ask(cache, "c", 'c');  // b goes
  EXPECT_FALSE(Ask(cache, "c", 'c').second);
  EXPECT_FALSE(Ask(cache, "a", 'a').second);
  EXPECT_TRUE(Ask(cache, "b", 'b').second);           // c goes
  EXPECT_EQ(Ask(cache, "big", 'x', 300).first, 'x');  // larger than the memory: served, not kept
  EXPECT_FALSE(Ask(cache, "a", 'a').second);
  EXPECT_FALSE(Ask(cache, "b", 'b').second);
  EXPECT_TRUE(Ask(cache, "c", 'c').second);
}

TEST_F(StatisticsCacheTest, TheDiskStaysBelowItsCapAndKeepsWhatWasUsedLast) {
  const auto options = [&] {
    return StatisticsCache::Options{.dir = dir_, .memory_bytes_max = 0, .disk_bytes_max = 4000};
  };
  StatisticsCache cache(options());
  const auto step = [] { std::this_thread::sleep_for(std::chrono::milliseconds(5)); };
  for (const char* key : {"a", "b", "c"}) Ask(cache, key, *key, 1000), step();
  EXPECT_EQ(Ask(cache, "a", 'z', 1000).second, false), step();
  Ask(cache, "d", 'd', 1000);  // b goes: a was read since
  int64_t total = 0;
  for (const auto& file : Files()) total += static_cast<int64_t>(fs::file_size(file));
  EXPECT_LE(total, 4000);
  StatisticsCache later(options());
  EXPECT_EQ(Ask(later, "a", 'z', 1000).second, false);
  EXPECT_EQ(Ask(later, "c", 'z', 1000).second, false);
  EXPECT_EQ(Ask(later, "d", 'z', 1000).second, false);
  EXPECT_EQ(Ask(later, "b", 'z', 1000).second, true);
}

TEST_F(StatisticsCacheTest, AnUnusableDirectoryOnlyLosesTheCaching) {
  std::ofstream(dir_ + "/file") << "no directory";
  StatisticsCache cache({.dir = dir_ + "/file/below"});
  EXPECT_EQ(Ask(cache, "a", 'x'), std::make_pair('x', true));
  EXPECT_EQ(Ask(cache, "a", 'y'), std::make_pair('x', false));  // from memory
}

TEST_F(StatisticsCacheTest, AFullDiskOnlyLosesTheCaching) {
  const pid_t child = fork();
  if (child == 0) {
    // A write past this size fails, as on a full disk, after part of the file is there.
    signal(SIGXFSZ, SIG_IGN);
    const rlimit limit = {500, 500};
    setrlimit(RLIMIT_FSIZE, &limit);
    StatisticsCache cache(OnDisk());
    const bool served = Ask(cache, "big", 'x', 2000) == std::make_pair('x', true);
    const bool small = Ask(cache, "small", 'y', 10) == std::make_pair('y', true);
    _exit(served && small ? 0 : 1);
  }
  int status = -1;
  waitpid(child, &status, 0);
  EXPECT_EQ(status, 0);
  StatisticsCache later(OnDisk());
  EXPECT_EQ(Ask(later, "big", 'z', 2000).second, true);
  EXPECT_EQ(Ask(later, "small", 'z', 10), std::make_pair('y', false));
  EXPECT_EQ(later.counters().damaged, 0);
  EXPECT_EQ(Files().size(), 2u);  // nothing half-written is left behind
}

TEST_F(StatisticsCacheTest, ProcessesSharingADirectorySeeOnlyWholeValues) {
  constexpr int kProcesses = 4, kKeys = 20, kRounds = 3;
  std::vector<pid_t> children;
  for (int p = 0; p < kProcesses; ++p) {
    const pid_t child = fork();
    if (child == 0) {
      bool good = true;
      for (int round = 0; round < kRounds; ++round) {
        StatisticsCache cache(
            {.dir = dir_, .memory_bytes_max = 0, .disk_bytes_max = 20'000});  // trims all the time
        for (int k = 0; k < kKeys; ++k) {
          const char c = static_cast<char>('a' + k);
          good = good && Ask(cache, std::string(1, c), c, 2000).first == c;
        }
        good = good && cache.counters().damaged == 0;
      }
      _exit(good ? 0 : 1);
    }
    children.push_back(child);
  }
  for (const pid_t child : children) {
    int status = -1;
    waitpid(child, &status, 0);
    EXPECT_EQ(status, 0);
  }
}

TEST_F(StatisticsCacheTest, ConcurrentCallersWaitForTheFirst) {
  StatisticsCache cache(OnDisk());
  std::atomic<int> computed = 0;
  std::vector<std::thread> threads;
  for (int i = 0; i < 8; ++i) {
    threads.emplace_back([&] {
      const auto value = cache.GetOrCompute("a", [&]() -> absl::StatusOr<std::vector<char>> {
        ++computed;
        std::this_thread::sleep_for(std::chrono::milliseconds(20));
        return Value('x');
      });
      EXPECT_TRUE(value.ok());
    });
  }
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(computed, 1);
  EXPECT_EQ(cache.counters().memory_hits, 7);
}

TEST_F(StatisticsCacheTest, AnErrorIsReturnedAndNotKept) {
  StatisticsCache cache(OnDisk());
  const auto failed = cache.GetOrCompute("a", [] { return absl::CancelledError("stopped"); });
  EXPECT_EQ(failed.status().code(), absl::StatusCode::kCancelled);
  EXPECT_EQ(Ask(cache, "a", 'x'), std::make_pair('x', true));
}

TEST_F(StatisticsCacheTest, ComputingOneValueMayAskForAnother) {
  StatisticsCache cache(OnDisk());
  const auto sum = cache.GetOrCompute("ab", [&]() -> absl::StatusOr<std::vector<char>> {
    return Value(Ask(cache, "a", 'x').first);
  });
  ASSERT_TRUE(sum.ok());
  EXPECT_EQ((*sum)->front(), 'x');
}

}  // namespace
}  // namespace saffron
