#include "core/solve/statistics_cache.h"

#include <condition_variable>
#include <cstdlib>
#include <list>
#include <mutex>
#include <optional>
#include <set>
#include <unordered_map>

#include "absl/cleanup/cleanup.h"
#include "core/solve/cache_files.h"

namespace saffron {

struct StatisticsCache::Impl {
  struct Entry {
    std::string key;
    Bytes value;
  };

  explicit Impl(Options given)
      : options(std::move(given)), files(options.dir, options.disk_bytes_max) {}

  // Under `mutex`: the value in memory, moved to the front; null when absent.
  Bytes Touch(const std::string& key) {
    const auto it = by_key.find(key);
    if (it == by_key.end()) return nullptr;
    recent.splice(recent.begin(), recent, it->second);
    return it->second->value;
  }

  // Under `mutex`.
  void Remember(const std::string& key, Bytes value) {
    const int64_t size = static_cast<int64_t>(value->size());
    if (size > options.memory_bytes_max || by_key.count(key)) return;
    recent.push_front({key, std::move(value)});
    by_key[key] = recent.begin();
    memory_bytes += size;
    while (memory_bytes > options.memory_bytes_max) {
      memory_bytes -= static_cast<int64_t>(recent.back().value->size());
      by_key.erase(recent.back().key);
      recent.pop_back();
    }
  }

  const Options options;
  CacheFiles files;
  mutable std::mutex mutex;
  std::condition_variable arrived;
  std::list<Entry> recent;  // most recently used first
  std::unordered_map<std::string, std::list<Entry>::iterator> by_key;
  std::unordered_map<std::string, std::pair<absl::Span<const char>, std::weak_ptr<const void>>>
      mapped;                        // values that somebody may be using
  std::set<std::string> being_made;  // keys that a thread reads or computes right now

  // What `find`, called with the mutex held, answers when that is something. Else nothing: then the
  // value is the caller's to make, and others wait for it until Release.
  template <typename Find>
  auto FindOrClaim(const std::string& key, const Find& find) {
    std::unique_lock<std::mutex> lock(mutex);
    for (;;) {
      if (auto found = find()) {
        ++counters.memory_hits;
        return found;
      }
      // Whoever comes first makes the value; the rest wait, and try themselves should it fail.
      if (being_made.insert(key).second) return decltype(find()){};
      arrived.wait(lock);
    }
  }
  void Release(const std::string& key) {
    std::lock_guard<std::mutex> lock(mutex);
    being_made.erase(key);
    arrived.notify_all();
  }
  int64_t memory_bytes = 0;
  Counters counters;
};

StatisticsCache::StatisticsCache(Options options)
    : impl_(std::make_unique<Impl>(std::move(options))) {}
StatisticsCache::~StatisticsCache() = default;

std::string StatisticsCache::DefaultDir() {
  const auto env = [](const char* name) -> std::string {
    const char* value = std::getenv(name);
    return value == nullptr ? "" : value;
  };
  if (const std::string dir = env("SAFFRON_CACHE"); !dir.empty()) return dir;
  if (const std::string dir = env("XDG_CACHE_HOME"); !dir.empty()) return dir + "/saffron";
  return env("HOME") + "/.cache/saffron";
}

absl::StatusOr<StatisticsCache::Bytes> StatisticsCache::GetOrCompute(
    const std::string& key, const std::function<absl::StatusOr<std::vector<char>>()>& compute) {
  Impl& impl = *impl_;
  if (Bytes found = impl.FindOrClaim(key, [&] { return impl.Touch(key); })) return found;
  // Unlocked from here: other keys proceed, and `compute` may ask for them.
  const absl::Cleanup release = [&] { impl.Release(key); };
  bool damaged = false, from_disk = true;
  Bytes value = impl.files.Read(key, &damaged);
  absl::Status status;
  if (value == nullptr) {
    from_disk = false;
    absl::StatusOr<std::vector<char>> made = compute();
    if (made.ok()) {
      value = std::make_shared<const std::vector<char>>(*std::move(made));
      impl.files.Write(key, *value);
    } else {
      status = made.status();
    }
  }
  std::lock_guard<std::mutex> lock(impl.mutex);
  impl.counters.damaged += damaged;
  ++(from_disk ? impl.counters.disk_hits : impl.counters.misses);
  if (!status.ok()) return status;
  impl.Remember(key, value);
  return value;
}

absl::StatusOr<StatisticsCache::Mapped> StatisticsCache::MapOrCompute(
    const std::string& name, const std::function<absl::StatusOr<std::vector<char>>()>& compute) {
  Impl& impl = *impl_;
  const std::string key = CacheFiles::AlignedKey(name);
  const auto find = [&]() -> std::optional<Mapped> {
    const auto it = impl.mapped.find(key);
    if (it == impl.mapped.end()) return std::nullopt;
    if (auto owner = it->second.second.lock()) return Mapped{it->second.first, std::move(owner)};
    impl.mapped.erase(it);
    return std::nullopt;
  };
  if (std::optional<Mapped> found = impl.FindOrClaim(key, find)) return *std::move(found);
  const absl::Cleanup release = [&] { impl.Release(key); };
  bool damaged = false, from_disk = true;
  Mapped value;
  absl::Status status;
  if (!impl.files.Map(key, &value.bytes, &value.owner, &damaged)) {
    from_disk = false;
    absl::StatusOr<std::vector<char>> made = compute();
    if (made.ok()) {
      auto bytes = std::make_shared<const std::vector<char>>(*std::move(made));
      impl.files.Write(key, *bytes);
      bool ignored = false;
      if (!impl.files.Map(key, &value.bytes, &value.owner, &ignored)) {
        value = {.bytes = absl::MakeConstSpan(*bytes), .owner = bytes};
      }
    } else {
      status = made.status();
    }
  }
  std::lock_guard<std::mutex> lock(impl.mutex);
  impl.counters.damaged += damaged;
  ++(from_disk ? impl.counters.disk_hits : impl.counters.misses);
  if (!status.ok()) return status;
  impl.mapped[key] = {value.bytes, value.owner};
  return value;
}

StatisticsCache::Counters StatisticsCache::counters() const {
  std::lock_guard<std::mutex> lock(impl_->mutex);
  return impl_->counters;
}

}  // namespace saffron
