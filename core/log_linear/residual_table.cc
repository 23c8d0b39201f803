#include "core/log_linear/residual_table.h"

#include <cmath>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "core/base/check.h"
#include "core/solve/unigram.h"

namespace saffron {
namespace {

struct TableHeader {
  int64_t parents, contexts, entries;
  std::array<double, 4> discounts;
};

// Where the arrays of a table lie in its bytes: each begins at a multiple of 8.
template <typename T>
struct Layout {
  explicit Layout(const TableHeader& h) {
    int64_t at = sizeof(TableHeader);
    const auto place = [&at](int64_t size, size_t bytes) {
      const int64_t begin = at;
      at += (size * static_cast<int64_t>(bytes) + 7) / 8 * 8;
      return begin;
    };
    child_begin = place(h.parents + 1, 4);
    begin = place(h.contexts + 1, 4);
    total = place(h.contexts, 4);
    backoff = place(h.contexts, sizeof(T));
    tally = place(h.entries, 4);
    residual = place(h.entries, sizeof(T));
    oldest = place(h.contexts, 2);
    next = place(h.entries, 2);
    size = at;
  }
  int64_t child_begin, begin, total, backoff, tally, residual, oldest, next, size;
};

template <typename T>
T* ArrayAt(std::vector<char>& bytes, int64_t offset) {
  return reinterpret_cast<T*>(bytes.data() + offset);
}

}  // namespace

template <typename T>
std::vector<char> SolveResiduals(const LevelCounts& level, Discounts kind,
                                 const TupleCounts* parent, absl::Span<const double> parent_p,
                                 std::vector<double>* p) {
  const TupleCounts& counts = *level.counts;
  const TableHeader header = {.parents = parent == nullptr ? 1 : parent->contexts(),
                              .contexts = counts.contexts(),
                              .entries = counts.entries(),
                              .discounts = EstimateDiscounts(counts.count, kind)};
  const Layout<T> at(header);
  std::vector<char> bytes(at.size);
  std::memcpy(bytes.data(), &header, sizeof header);
  std::copy(counts.begin.begin(), counts.begin.end(), ArrayAt<int32_t>(bytes, at.begin));
  std::copy(counts.next.begin(), counts.next.end(), ArrayAt<uint16_t>(bytes, at.next));
  int32_t* const child_begin = ArrayAt<int32_t>(bytes, at.child_begin);
  int32_t* const totals = ArrayAt<int32_t>(bytes, at.total);
  int32_t* const tally = ArrayAt<int32_t>(bytes, at.tally);
  T* const backoffs = ArrayAt<T>(bytes, at.backoff);
  T* const residual = ArrayAt<T>(bytes, at.residual);
  uint16_t* const oldest = ArrayAt<uint16_t>(bytes, at.oldest);
  p->resize(header.entries);

  // P(.|h-) of the parent context at hand.
  std::vector<double> below(parent == nullptr ? std::vector<double>{}
                                              : std::vector<double>(1 << 16));
  int64_t c = 0;
  for (int64_t h = 0; h < header.parents; ++h) {
    child_begin[h] = static_cast<int32_t>(c);
    if (parent != nullptr) {
      for (int32_t j = parent->begin[h]; j < parent->begin[h + 1]; ++j) {
        below[parent->next[j]] = parent_p[j];
      }
    }
    const double* const q = parent == nullptr ? parent_p.data() : below.data();
    for (; c < header.contexts &&
           (parent == nullptr || counts.context[c] >> 16 == parent->context[h]);
         ++c) {
      oldest[c] = static_cast<uint16_t>(counts.context[c]);
      int64_t total = 0;
      double backoff = 0;
      for (int32_t j = counts.begin[c]; j < counts.begin[c + 1]; ++j) {
        total += counts.count[j];
        backoff += DiscountOf(header.discounts, counts.count[j]);
        tally[j] = 2 * counts.count[j] + level.once[j];
      }
      totals[c] = static_cast<int32_t>(total);
      backoffs[c] = static_cast<T>(backoff);
      for (int32_t j = counts.begin[c]; j < counts.begin[c + 1]; ++j) {
        const double kept = counts.count[j] - DiscountOf(header.discounts, counts.count[j]);
        const double handed_down = backoff * q[counts.next[j]];
        residual[j] = static_cast<T>(std::log1p(kept / handed_down));
        (*p)[j] = (kept + handed_down) / static_cast<double>(total);
      }
    }
  }
  CHECK(c == header.contexts) << "a context without its parent";
  child_begin[header.parents] = static_cast<int32_t>(c);
  return bytes;
}

template <typename T>
absl::StatusOr<ResidualTable<T>> ParseResiduals(const StatisticsCache::Mapped& mapped) {
  TableHeader h = {};
  const int64_t size = static_cast<int64_t>(mapped.bytes.size());
  if (size >= static_cast<int64_t>(sizeof h)) std::memcpy(&h, mapped.bytes.data(), sizeof h);
  const auto sane = [size](int64_t n) { return n >= 0 && n <= size; };
  const Layout<T> at(h);
  if (h.parents < 1 || !sane(h.parents) || !sane(h.contexts) || !sane(h.entries) ||
      at.size != size) {
    return absl::DataLossError(
        absl::StrCat("table of evidence of ", size, " bytes has a broken header"));
  }
  ResidualTable<T> table;
  const auto view = [&mapped](int64_t offset, int64_t n, auto* span) {
    using Element = typename std::remove_pointer_t<decltype(span)>::element_type;
    *span = {reinterpret_cast<Element*>(mapped.bytes.data() + offset), static_cast<size_t>(n)};
  };
  table.discounts = h.discounts;
  view(at.child_begin, h.parents + 1, &table.child_begin);
  view(at.begin, h.contexts + 1, &table.begin);
  view(at.total, h.contexts, &table.total);
  view(at.backoff, h.contexts, &table.backoff);
  view(at.tally, h.entries, &table.tally);
  view(at.residual, h.entries, &table.residual);
  view(at.oldest, h.contexts, &table.oldest);
  view(at.next, h.entries, &table.next);
  table.owner = mapped.owner;
  return table;
}

RootDistribution SolveRoot(const TupleCounts& unigrams, absl::Span<const int64_t> plain,
                           Discounts kind) {
  RootDistribution root;
  const double vocab = static_cast<double>(plain.size());
  const auto discounts = EstimateDiscounts(unigrams.count, kind);
  double total = 0, backoff = 0;
  for (int32_t c : unigrams.count) {
    total += c;
    backoff += DiscountOf(discounts, c);
  }
  root.p1.assign(plain.size(), total > 0 ? backoff / vocab / total : 1 / vocab);
  for (int64_t j = 0; j < unigrams.entries(); ++j) {
    const int32_t c = unigrams.count[j];
    root.p1[unigrams.next[j]] += (c - DiscountOf(discounts, c)) / total;
  }
  for (double log_p : SmoothedLogPrior({plain.begin(), plain.end()})) {
    root.p.push_back(std::exp(log_p));
  }
  return root;
}

template std::vector<char> SolveResiduals<float>(const LevelCounts&, Discounts, const TupleCounts*,
                                                 absl::Span<const double>, std::vector<double>*);
template std::vector<char> SolveResiduals<double>(const LevelCounts&, Discounts, const TupleCounts*,
                                                  absl::Span<const double>, std::vector<double>*);
template absl::StatusOr<ResidualTable<float>> ParseResiduals(const StatisticsCache::Mapped&);
template absl::StatusOr<ResidualTable<double>> ParseResiduals(const StatisticsCache::Mapped&);

}  // namespace saffron
