#include "core/data/dataset_cache.h"

#include <gtest/gtest.h>

#include <atomic>
#include <new>
#include <thread>
#include <vector>

namespace saffron {
namespace {

DatasetCache::Load Number(int value, int64_t bytes, std::atomic<int>* loads) {
  return [=]() -> absl::StatusOr<DatasetCache::Value> {
    ++*loads;
    return DatasetCache::Value{std::make_shared<const int>(value), bytes};
  };
}

int Value(const absl::StatusOr<std::shared_ptr<const void>>& value) {
  return *std::static_pointer_cast<const int>(*value);
}

TEST(DatasetCache, LoadsOnceAndDropsTheLeastRecentlyUsed) {
  DatasetCache cache(100);
  std::atomic<int> loads = 0;
  EXPECT_EQ(Value(cache.GetOrLoad("a", Number(1, 40, &loads))), 1);
  EXPECT_EQ(Value(cache.GetOrLoad("b", Number(2, 40, &loads))), 2);
  EXPECT_EQ(Value(cache.GetOrLoad("a", Number(9, 40, &loads))), 1);
  EXPECT_EQ(Value(cache.GetOrLoad("c", Number(3, 40, &loads))), 3);  // drops b
  EXPECT_EQ(cache.bytes(), 80);
  EXPECT_EQ(Value(cache.GetOrLoad("a", Number(9, 40, &loads))), 1);
  EXPECT_EQ(loads, 3);
  EXPECT_EQ(Value(cache.GetOrLoad("b", Number(4, 40, &loads))), 4);
}

TEST(DatasetCache, WhatIsTooLargeIsReturnedButNotHeld) {
  DatasetCache cache(100);
  std::atomic<int> loads = 0;
  EXPECT_EQ(Value(cache.GetOrLoad("small", Number(1, 60, &loads))), 1);
  EXPECT_EQ(Value(cache.GetOrLoad("huge", Number(2, 101, &loads))), 2);
  EXPECT_EQ(cache.bytes(), 60);
  EXPECT_EQ(Value(cache.GetOrLoad("small", Number(9, 60, &loads))), 1);
}

TEST(DatasetCache, AnErrorIsNotKept) {
  DatasetCache cache(100);
  std::atomic<int> loads = 0;
  const auto fail = []() -> absl::StatusOr<DatasetCache::Value> {
    return absl::UnavailableError("disk");
  };
  EXPECT_EQ(cache.GetOrLoad("a", fail).status().code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(Value(cache.GetOrLoad("a", Number(1, 10, &loads))), 1);
}

TEST(DatasetCache, ALoadThatRanOutOfMemoryDoesNotKeepOthersWaiting) {
  DatasetCache cache(100);
  std::atomic<int> loads = 0;
  const auto greedy = []() -> absl::StatusOr<DatasetCache::Value> { throw std::bad_alloc(); };
  EXPECT_THROW((void)cache.GetOrLoad("a", greedy).ok(), std::bad_alloc);
  EXPECT_EQ(Value(cache.GetOrLoad("a", Number(1, 10, &loads))), 1);
}

TEST(DatasetCache, ThreadsThatWantOneKeyShareOneLoad) {
  DatasetCache cache(100);
  std::atomic<int> loads = 0, right = 0;
  const auto slow = [&]() -> absl::StatusOr<DatasetCache::Value> {
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    return Number(7, 10, &loads)();
  };
  std::vector<std::thread> threads;
  for (int i = 0; i < 8; ++i) {
    threads.emplace_back([&] { right += Value(cache.GetOrLoad("a", slow)) == 7; });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(right, 8);
  EXPECT_EQ(loads, 1);
}

}  // namespace
}  // namespace saffron
