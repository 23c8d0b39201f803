#include "core/log_linear/tuple_counts.h"

#include <algorithm>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "core/base/check.h"
#include "core/solve/radix_sort.h"

namespace saffron {
namespace {

// Appends entries that come in ascending order of (context, next); equal ones are added up.
class Builder {
 public:
  explicit Builder(size_t most) {
    counts_.next.reserve(most);
    counts_.count.reserve(most);
  }
  void Add(uint64_t context, uint16_t next, int32_t count) {
    if (counts_.context.empty() || counts_.context.back() != context) {
      counts_.context.push_back(context);
      counts_.begin.push_back(static_cast<int32_t>(counts_.next.size()));
    } else if (counts_.next.back() == next) {
      counts_.count.back() += count;
      return;
    }
    counts_.next.push_back(next);
    counts_.count.push_back(count);
  }
  TupleCounts Finish() && {
    counts_.begin.push_back(static_cast<int32_t>(counts_.next.size()));
    return std::move(counts_);
  }

 private:
  TupleCounts counts_;
};

struct Occurrence {
  uint64_t context;
  int32_t count;
  uint16_t next;
};

TupleCounts SortAndAdd(std::vector<Occurrence> items) {
  uint64_t context_max = 0, next_max = 0;
  for (const Occurrence& o : items) {
    context_max = std::max(context_max, o.context);
    next_max = std::max<uint64_t>(next_max, o.next);
  }
  std::vector<Occurrence> scratch;
  RadixSort(&items, &scratch, next_max, [](const Occurrence& o) { return uint64_t{o.next}; });
  RadixSort(&items, &scratch, context_max, [](const Occurrence& o) { return o.context; });
  Builder builder(items.size() / 2);
  for (const Occurrence& o : items) builder.Add(o.context, o.next, o.count);
  return std::move(builder).Finish();
}

// Visits (parent context, next, its children's counts) in ascending order.
template <typename Combine>
TupleCounts OverOldest(const TupleCounts& counts, Combine combine) {
  std::vector<int32_t> sum(kTupleVocabMax);
  std::vector<uint16_t> touched;
  Builder builder(counts.next.size());
  for (int64_t c = 0; c < counts.contexts();) {
    const uint64_t parent = counts.context[c] >> 16;
    touched.clear();
    for (; c < counts.contexts() && counts.context[c] >> 16 == parent; ++c) {
      for (int32_t j = counts.begin[c]; j < counts.begin[c + 1]; ++j) {
        if (sum[counts.next[j]] == 0) touched.push_back(counts.next[j]);
        sum[counts.next[j]] += combine(counts.count[j]);
      }
    }
    std::sort(touched.begin(), touched.end());
    for (uint16_t next : touched) {
      builder.Add(parent, next, sum[next]);
      sum[next] = 0;
    }
  }
  return std::move(builder).Finish();
}

}  // namespace

int32_t TupleCounts::CountOf(uint64_t of_context, uint16_t token) const {
  const auto at = std::lower_bound(context.begin(), context.end(), of_context);
  if (at == context.end() || *at != of_context) return 0;
  const int64_t c = at - context.begin();
  const auto last = next.begin() + begin[c + 1];
  const auto entry = std::lower_bound(next.begin() + begin[c], last, token);
  return entry == last || *entry != token ? 0 : count[entry - next.begin()];
}

TupleCounts CountTuples(absl::Span<const int32_t> stream, const LagTemplate& lags,
                        const TargetSet& targets) {
  std::vector<Occurrence> items;
  const int64_t first = std::max<int64_t>(targets.first, lags.size() == 0 ? 0 : lags.last());
  items.reserve(std::max<int64_t>(0, targets.last - first));
  for (int64_t t = first; t < targets.last;) {
    const int64_t block = targets.rule.block;
    const int64_t end = std::min(targets.last, (t / block + 1) * block);
    if (!targets.Has(t)) t = end;
    for (; t < end; ++t) {
      CHECK(stream[t] >= 0 && stream[t] < kTupleVocabMax) << "id " << stream[t];
      items.push_back({lags.ContextOf(stream.data(), t), 1, static_cast<uint16_t>(stream[t])});
    }
  }
  return SortAndAdd(std::move(items));
}

TupleCounts AddTuples(const TupleCounts& a, const TupleCounts& b) {
  Builder builder(a.next.size() + b.next.size());
  const auto copy = [&builder](const TupleCounts& from, int64_t c) {
    for (int32_t j = from.begin[c]; j < from.begin[c + 1]; ++j) {
      builder.Add(from.context[c], from.next[j], from.count[j]);
    }
  };
  int64_t i = 0, j = 0;
  while (i < a.contexts() || j < b.contexts()) {
    if (j == b.contexts() || (i < a.contexts() && a.context[i] < b.context[j])) {
      copy(a, i++);
    } else if (i == a.contexts() || b.context[j] < a.context[i]) {
      copy(b, j++);
    } else {
      int32_t x = a.begin[i], y = b.begin[j];
      const int32_t x_end = a.begin[i + 1], y_end = b.begin[j + 1];
      while (x < x_end || y < y_end) {
        if (y == y_end || (x < x_end && a.next[x] <= b.next[y])) {
          builder.Add(a.context[i], a.next[x], a.count[x]);
          ++x;
        } else {
          builder.Add(a.context[i], b.next[y], b.count[y]);
          ++y;
        }
      }
      ++i;
      ++j;
    }
  }
  return std::move(builder).Finish();
}

TupleCounts MergeTypes(const TupleCounts& counts, int lags, int vocab) {
  const auto merged = [vocab](uint64_t id) { return id < static_cast<uint64_t>(vocab) ? id : 0; };
  std::vector<Occurrence> items;
  items.reserve(counts.next.size());
  for (int64_t c = 0; c < counts.contexts(); ++c) {
    uint64_t context = 0;
    for (int lag = lags - 1; lag >= 0; --lag) {
      context = context << 16 | merged(counts.context[c] >> (16 * lag) & 0xffff);
    }
    for (int32_t j = counts.begin[c]; j < counts.begin[c + 1]; ++j) {
      items.push_back({context, counts.count[j], static_cast<uint16_t>(merged(counts.next[j]))});
    }
  }
  return SortAndAdd(std::move(items));
}

TupleCounts SumOutOldest(const TupleCounts& counts) {
  return OverOldest(counts, [](int32_t count) { return count; });
}

TupleCounts ContinuationCounts(const TupleCounts& counts) {
  return OverOldest(counts, [](int32_t) { return 1; });
}

// Numbers of contexts and entries, then the arrays.
std::vector<char> BytesOf(const TupleCounts& counts) {
  const int64_t sizes[2] = {counts.contexts(), counts.entries()};
  std::vector<char> bytes(sizeof sizes + 12 * counts.context.size() + 4 + 6 * counts.next.size());
  char* at = bytes.data();
  const auto append = [&at](const auto* data, size_t n) {
    if (n > 0) std::memcpy(at, data, n * sizeof *data);
    at += n * sizeof *data;
  };
  append(sizes, 2);
  append(counts.context.data(), counts.context.size());
  append(counts.begin.data(), counts.begin.size());
  append(counts.count.data(), counts.count.size());
  append(counts.next.data(), counts.next.size());
  return bytes;
}

absl::StatusOr<TupleCounts> ParseTupleCounts(absl::Span<const char> bytes) {
  const int64_t size = static_cast<int64_t>(bytes.size());
  int64_t sizes[2] = {-1, -1};
  if (bytes.size() >= sizeof sizes) std::memcpy(sizes, bytes.data(), sizeof sizes);
  const auto [contexts, entries] = sizes;
  const auto sane = [size](int64_t n) { return n >= 0 && n <= size; };
  if (!sane(contexts) || !sane(entries) ||
      size != int64_t{sizeof sizes} + 12 * contexts + 4 + 6 * entries) {
    return absl::DataLossError(absl::StrCat("counts of ", size, " bytes have a broken header"));
  }
  TupleCounts counts;
  const char* at = bytes.data() + sizeof sizes;
  const auto read = [&at](int64_t n, auto* v) {
    v->resize(n);
    if (n > 0) std::memcpy(v->data(), at, n * sizeof(*v)[0]);
    at += n * sizeof(*v)[0];
  };
  read(contexts, &counts.context);
  read(contexts + 1, &counts.begin);
  read(entries, &counts.count);
  read(entries, &counts.next);
  return counts;
}

}  // namespace saffron
