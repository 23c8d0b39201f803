#include "core/solve/count_table.h"

#include <algorithm>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "core/base/check.h"
#include "core/base/status_macros.h"
#include "core/solve/radix_sort.h"

namespace saffron {
namespace {

// Cached form: rows, entries (int64 each), then begin, next, count (int32 arrays).
struct TableHeader {
  int64_t rows;
  int64_t entries;
};

int64_t TableBytes(const TableHeader& h) {
  return static_cast<int64_t>(sizeof h) + 4 * (h.rows + 1 + 2 * h.entries);
}

CountTable Freeze(const std::vector<int32_t>& begin, const std::vector<int32_t>& next,
                  const std::vector<int32_t>& count) {
  const TableHeader header = {.rows = static_cast<int64_t>(begin.size()) - 1,
                              .entries = static_cast<int64_t>(next.size())};
  auto bytes = std::make_shared<std::vector<char>>(TableBytes(header));
  char* out = bytes->data();
  std::memcpy(out, &header, sizeof header);
  out += sizeof header;
  for (const std::vector<int32_t>* part : {&begin, &next, &count}) {
    if (!part->empty()) std::memcpy(out, part->data(), part->size() * 4);
    out += part->size() * 4;
  }
  auto table = ParseCountTable(std::move(bytes));
  CHECK(table.ok()) << table.status();
  return *std::move(table);
}

// The longest cut of the training stream below `tokens`; 0 when there is none.
int64_t CutBelow(int64_t tokens) {
  int64_t cut = 0;
  for (int64_t decade = 10'000; decade < tokens; decade *= 10) {
    cut = decade;
    if (3 * decade < tokens) cut = 3 * decade;
  }
  return cut;
}

// The prefix [0, tokens) under `rule`, which may be that of a longer stream.
absl::StatusOr<CountTable> PrefixCounts(const TextDataset& data, int lag, int64_t tokens,
                                        const HoldoutRule& rule, Part part,
                                        StatisticsCache& cache) {
  const std::string key = absl::StrCat("counts/1/", data.stream_key, "/lag", lag, "/", rule.Key(),
                                       part == Part::kHeld ? "/held/" : "/", tokens);
  ASSIGN_OR_RETURN(StatisticsCache::Bytes bytes,
                   cache.GetOrCompute(key, [&]() -> absl::StatusOr<std::vector<char>> {
                     const int64_t cut = CutBelow(tokens);
                     CountTable table =
                         CountShard(data.train, data.vocab, data.eod, lag, cut, tokens, rule, part);
                     if (cut > 0) {
                       ASSIGN_OR_RETURN(const CountTable prefix,
                                        PrefixCounts(data, lag, cut, rule, part, cache));
                       table = AddCounts(prefix, table);
                     }
                     return *table.bytes;
                   }));
  return ParseCountTable(std::move(bytes));
}

}  // namespace

int64_t CountTable::CountOf(int32_t w, int32_t y) const {
  const auto first = next.begin() + begin[w], last = next.begin() + begin[w + 1];
  const auto it = std::lower_bound(first, last, y);
  return it != last && *it == y ? count[it - next.begin()] : 0;
}

std::vector<int64_t> CountTable::ColumnSums(int columns) const {
  std::vector<int64_t> sums(columns);
  for (size_t i = 0; i < next.size(); ++i) sums[next[i]] += count[i];
  return sums;
}

CountTable CountShard(absl::Span<const int32_t> stream, int vocab, int32_t padding, int lag,
                      int64_t first, int64_t last, const HoldoutRule& rule, Part part) {
  CHECK(lag >= 1 && first >= 0 && first <= last && last <= static_cast<int64_t>(stream.size()));
  CHECK(vocab <= 1 << 20 && padding >= 0 && padding < vocab);
  std::vector<uint64_t> pairs, scratch;
  pairs.reserve(last - first);
  for (int64_t t = first; t < last; ++t) {
    if (!rule.IsIn(part, t)) continue;
    const uint64_t w = t >= lag ? stream[t - lag] : padding;
    pairs.push_back(w << 20 | static_cast<uint64_t>(stream[t]));
  }
  constexpr uint64_t kNext = (1u << 20) - 1;
  // By next token, then stably by context: digits above a 13-bit vocabulary are never sorted.
  RadixSort(&pairs, &scratch, vocab - 1, [](uint64_t p) { return p & kNext; });
  RadixSort(&pairs, &scratch, vocab - 1, [](uint64_t p) { return p >> 20; });
  std::vector<int32_t> begin(vocab + 1), next, count;
  next.reserve(pairs.size() / 2);
  count.reserve(pairs.size() / 2);
  for (size_t i = 0; i < pairs.size();) {
    size_t end = i + 1;
    while (end < pairs.size() && pairs[end] == pairs[i]) ++end;
    next.push_back(static_cast<int32_t>(pairs[i] & kNext));
    count.push_back(static_cast<int32_t>(end - i));
    ++begin[(pairs[i] >> 20) + 1];
    i = end;
  }
  for (int w = 0; w < vocab; ++w) begin[w + 1] += begin[w];
  return Freeze(begin, next, count);
}

CountTable AddCounts(const CountTable& a, const CountTable& b) {
  CHECK(a.rows() == b.rows()) << a.rows() << " and " << b.rows();
  std::vector<int32_t> begin = {0}, next, count;
  begin.reserve(a.begin.size());
  next.reserve(a.entries() + b.entries());
  count.reserve(a.entries() + b.entries());
  for (int w = 0; w < a.rows(); ++w) {
    int32_t i = a.begin[w], j = b.begin[w];
    while (i < a.begin[w + 1] || j < b.begin[w + 1]) {
      const bool from_a = i < a.begin[w + 1] && (j == b.begin[w + 1] || a.next[i] <= b.next[j]);
      const bool from_b = j < b.begin[w + 1] && (i == a.begin[w + 1] || b.next[j] <= a.next[i]);
      next.push_back(from_a ? a.next[i] : b.next[j]);
      count.push_back((from_a ? a.count[i] : 0) + (from_b ? b.count[j] : 0));
      i += from_a;
      j += from_b;
    }
    begin.push_back(static_cast<int32_t>(next.size()));
  }
  return Freeze(begin, next, count);
}

absl::StatusOr<CountTable> ParseCountTable(StatisticsCache::Bytes bytes) {
  TableHeader header = {};
  const int64_t size = static_cast<int64_t>(bytes->size());
  if (size >= static_cast<int64_t>(sizeof header)) {
    std::memcpy(&header, bytes->data(), sizeof header);
  }
  if (header.rows < 1 || header.rows > 1 << 20 || header.entries < 0 || header.entries > size ||
      size != TableBytes(header)) {
    return absl::DataLossError(absl::StrCat("count table of ", size, " bytes has a broken header"));
  }
  CountTable table;
  const auto* data = reinterpret_cast<const int32_t*>(bytes->data() + sizeof header);
  table.begin = absl::MakeConstSpan(data, header.rows + 1);
  table.next = absl::MakeConstSpan(data + header.rows + 1, header.entries);
  table.count = absl::MakeConstSpan(data + header.rows + 1 + header.entries, header.entries);
  table.bytes = std::move(bytes);
  return table;
}

absl::StatusOr<CountTable> LagCounts(const TextDataset& data, int lag, Part part,
                                     StatisticsCache& cache) {
  const int64_t tokens = static_cast<int64_t>(data.train.size());
  if (tokens < kSolveTokensMin) {
    return absl::InvalidArgumentError(
        absl::StrCat("training stream: want at least ", kSolveTokensMin, " tokens, got ", tokens));
  }
  return PrefixCounts(data, lag, tokens, HoldoutRule::For(tokens), part, cache);
}

}  // namespace saffron
