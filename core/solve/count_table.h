#pragma once
// Lag counts C_k(w, y) = #{t : s[t-k] = w, s[t] = y} over the counted or the held-out targets t,
// sparse and sorted. They are integers and add up exactly: over shards, and over prefixes of the
// training stream.

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "core/data/data_store.h"
#include "core/solve/holdout.h"
#include "core/solve/statistics_cache.h"

namespace saffron {

// Row w holds the entries begin[w] .. begin[w+1]-1, by ascending next token. A view into `bytes`,
// which is also the table's cached form. Immutable, cheap to copy.
struct CountTable {
  absl::Span<const int32_t> begin;  // [rows + 1]
  absl::Span<const int32_t> next;   // [entries]
  absl::Span<const int32_t> count;  // [entries], > 0
  StatisticsCache::Bytes bytes;

  int rows() const { return static_cast<int>(begin.size()) - 1; }
  int64_t entries() const { return static_cast<int64_t>(next.size()); }
  int64_t CountOf(int32_t w, int32_t y) const;  // 0 when absent
  // n_y = sum_w C(w, y), [columns].
  std::vector<int64_t> ColumnSums(int columns) const;
};

// A shard: targets [first, last) of `stream` that are in `part`. Contexts before the start
// of the stream read as `padding`. Ids lie in [0, vocab), vocab <= 2^20.
CountTable CountShard(absl::Span<const int32_t> stream, int vocab, int32_t padding, int lag,
                      int64_t first, int64_t last, const HoldoutRule& rule, Part part);

// a + b, entry by entry. The tables have equally many rows.
CountTable AddCounts(const CountTable& a, const CountTable& b);

// From a table's cached form. DATA_LOSS when the bytes are not a table.
absl::StatusOr<CountTable> ParseCountTable(StatisticsCache::Bytes bytes);

// Counts of lag >= 1 over one part of `data.train`, through the cache: a prefix that ends at 10k,
// 30k, 100k, 300k, 1M, ... is kept, and longer prefixes are made by adding the shard that follows
// it.
absl::StatusOr<CountTable> LagCounts(const TextDataset& data, int lag, Part part,
                                     StatisticsCache& cache);

}  // namespace saffron
