#include "core/data/dataset_cache.h"

#include <algorithm>

#include "absl/cleanup/cleanup.h"

namespace saffron {

absl::StatusOr<std::shared_ptr<const void>> DatasetCache::GetOrLoad(const std::string& key,
                                                                    const Load& load) {
  {
    std::unique_lock lock(mutex_);
    while (true) {
      if (auto held = Held(key)) return held;
      if (loading_.insert(key).second) break;
      loaded_.wait(lock);
    }
  }
  // Also when there was no memory for it (std::bad_alloc): the next in line tries for itself.
  const absl::Cleanup let_others_in = [&] {
    const std::lock_guard lock(mutex_);
    loading_.erase(key);
    loaded_.notify_all();
  };
  absl::StatusOr<Value> value = load();
  if (!value.ok()) return value.status();
  const std::lock_guard lock(mutex_);
  std::shared_ptr<const void> data = value->data;
  Hold(key, *std::move(value));
  return data;
}

int64_t DatasetCache::bytes() const {
  const std::lock_guard lock(mutex_);
  return bytes_;
}

std::shared_ptr<const void> DatasetCache::Held(const std::string& key) {
  const auto entry = std::find_if(entries_.begin(), entries_.end(),
                                  [&](const Entry& entry) { return entry.key == key; });
  if (entry == entries_.end()) return nullptr;
  entries_.splice(entries_.begin(), entries_, entry);
  return entry->value.data;
}

void DatasetCache::Hold(const std::string& key, Value value) {
  if (value.bytes > bytes_max_) return;
  bytes_ += value.bytes;
  entries_.push_front({.key = key, .value = std::move(value)});
  while (bytes_ > bytes_max_) {
    bytes_ -= entries_.back().value.bytes;
    entries_.pop_back();
  }
}

}  // namespace saffron
