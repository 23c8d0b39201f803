#pragma once
// How often each token followed each context of a template: sparse, sorted integers that add up
// exactly, over shards of a stream, over its prefixes, and over types that are merged.

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "core/model/lag_template.h"
#include "core/solve/holdout.h"

namespace saffron {

inline constexpr int kTupleVocabMax = 1 << 16;

// Context c (LagTemplate::ContextOf) was followed by next[j] count[j] times, for j from begin[c] to
// begin[c+1]-1, by ascending next. Contexts ascend; each has an entry.
struct TupleCounts {
  std::vector<uint64_t> context;  // [contexts]
  std::vector<int32_t> begin;     // [contexts + 1]
  std::vector<uint16_t> next;     // [entries]
  std::vector<int32_t> count;     // [entries], > 0

  int64_t contexts() const { return static_cast<int64_t>(context.size()); }
  int64_t entries() const { return static_cast<int64_t>(next.size()); }
  // How often `token` followed a context; 0: never.
  int32_t CountOf(uint64_t of_context, uint16_t token) const;
  friend bool operator==(const TupleCounts&, const TupleCounts&) = default;
};

// A set of a stream's targets.
struct TargetSet {
  int64_t first = 0, last = 0;  // [first, last)
  HoldoutRule rule = {};
  bool counted = true, held = false;  // those parts of them

  bool Has(int64_t t) const { return rule.Holds(t) ? held : counted; }
};

// The targets whose whole context lies in the stream: n-grams do not reach before its start, but
// cross document ends. Ids lie in [0, kTupleVocabMax).
TupleCounts CountTuples(absl::Span<const int32_t> stream, const LagTemplate& lags,
                        const TargetSet& targets);

// a + b, entry by entry; of one template.
TupleCounts AddTuples(const TupleCounts& a, const TupleCounts& b);

// The counts of the same text under a vocabulary of `vocab` types: ids from there on become 0.
TupleCounts MergeTypes(const TupleCounts& counts, int lags, int vocab);

// Counts of the parent template: the oldest token summed out. They are those of the targets that
// have the longer context.
TupleCounts SumOutOldest(const TupleCounts& counts);

// How many distinct oldest tokens stood before each (parent context, next): Kneser and Ney's
// continuation counts.
TupleCounts ContinuationCounts(const TupleCounts& counts);

// For the statistics cache. Parse: DATA_LOSS when the bytes are not of TupleCounts.
std::vector<char> BytesOf(const TupleCounts& counts);
absl::StatusOr<TupleCounts> ParseTupleCounts(absl::Span<const char> bytes);

}  // namespace saffron
