#pragma once
// The datasets a process used last, shared by its trials.

#include <condition_variable>
#include <cstdint>
#include <functional>
#include <list>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <utility>

#include "absl/status/statusor.h"

namespace saffron {

// Values by key, at most `bytes_max` of them held; the least recently used goes first, and a value
// larger than everything is returned but not held. Thread-safe: callers of a key that is being
// loaded wait for it, others do not.
class DatasetCache {
 public:
  struct Value {
    std::shared_ptr<const void> data;
    int64_t bytes = 0;
  };
  using Load = std::function<absl::StatusOr<Value>()>;

  explicit DatasetCache(int64_t bytes_max) : bytes_max_(bytes_max) {}

  // The value of `key`, from here or from `load`, whose errors are returned and not kept.
  absl::StatusOr<std::shared_ptr<const void>> GetOrLoad(const std::string& key, const Load& load);

  int64_t bytes() const;

 private:
  struct Entry {
    std::string key;
    Value value;
  };

  std::shared_ptr<const void> Held(const std::string& key);  // null when missing
  void Hold(const std::string& key, Value value);

  const int64_t bytes_max_;
  mutable std::mutex mutex_;
  std::condition_variable loaded_;
  std::list<Entry> entries_;  // most recently used first
  std::set<std::string> loading_;
  int64_t bytes_ = 0;
};

}  // namespace saffron
