#pragma once
// Interpolated Kneser-Ney smoothing as evidence of a softmax layer.
//
// Absolute discounting of a context h that backs off to h- (its oldest token dropped),
//
//   P(i|h) = (c_hi - D(c_hi) + g_h P(i|h-)) / c_h ,   g_h = sum_i D(c_hi),
//
// divided by what the back-off alone would give, (g_h / c_h) P(i|h-), loses a constant of the row,
// which a softmax does not see:
//
//   R_h[i] = log(1 + (c_hi - D(c_hi)) / (g_h P(i|h-)))   where (h, i) was seen, else exactly 0
//   softmax_i( log P_1(i) + sum_n R_{h_n}[i] )  =  the Kneser-Ney chain.
//
// So R is what a longer context knows beyond a shorter one, and as sparse as the counts. Any
// template has such evidence over its parent: chains of n-grams, skips, pairs.

#include <algorithm>
#include <array>
#include <cstdint>
#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "core/log_linear/tuple_counts.h"
#include "core/solve/discounts.h"
#include "core/solve/statistics_cache.h"

namespace saffron {

// The lowest order: probabilities of tokens whatever the context.
struct RootDistribution {
  // P_1, the chain's: of continuation counts, discounted, over 1 / V.
  std::vector<double> p1;
  // p, of plain counts: (n_i + 1/2) / sum.
  std::vector<double> p;
};

// What the solution of a template needs: its counts, and where a count rests on one occurrence in
// the text alone (a continuation count of 1 may rest on more).
struct LevelCounts {
  std::shared_ptr<const TupleCounts> counts;
  std::vector<bool> once;  // [entries]
};

// One template's evidence. Contexts are the nodes of a trie: those of one parent context are
// neighbours, by ascending oldest token. A view into memory that `owner` holds; immutable, cheap to
// copy.
template <typename T>
struct ResidualTable {
  std::array<double, 4> discounts{};      // D by min(count, 3)
  absl::Span<const int32_t> child_begin;  // [parent contexts + 1]
  absl::Span<const int32_t> begin;        // [contexts + 1] into the entries
  absl::Span<const int32_t> total;        // [contexts] c_h
  absl::Span<const T> backoff;            // [contexts] g_h
  absl::Span<const int32_t> tally;        // [entries] 2 c_hi + 1 if seen once
  absl::Span<const T> residual;           // [entries] R_h[i]
  absl::Span<const uint16_t> oldest;      // [contexts]
  absl::Span<const uint16_t> next;        // [entries], ascending in a context
  std::shared_ptr<const void> owner;

  int64_t parents() const { return static_cast<int64_t>(child_begin.size()) - 1; }
  int64_t contexts() const { return static_cast<int64_t>(oldest.size()); }
  int64_t entries() const { return static_cast<int64_t>(next.size()); }
  int32_t CountOf(int32_t entry) const { return tally[entry] >> 1; }

  // The context of parent context `parent` with this oldest token, or -1. Of parent -1: -1.
  int32_t Find(int32_t parent, int32_t token) const {
    if (parent < 0) return -1;
    const uint16_t* const first = oldest.data() + child_begin[parent];
    const uint16_t* const last = oldest.data() + child_begin[parent + 1];
    const uint16_t* const it = std::lower_bound(first, last, token);
    return it != last && *it == token ? static_cast<int32_t>(it - oldest.data()) : -1;
  }
  // The entry of `token` in a context, or -1.
  int32_t FindNext(int32_t context, int32_t token) const {
    const uint16_t* const first = next.data() + begin[context];
    const uint16_t* const last = next.data() + begin[context + 1];
    const uint16_t* const it = std::lower_bound(first, last, token);
    return it != last && *it == token ? static_cast<int32_t>(it - next.data()) : -1;
  }
};

// The evidence of `level` over its parent, whose contexts and entries include those of `level`
// without their oldest tokens: `parent` with the probabilities `parent_p` of its entries, or for a
// template of one lag null and P_1 of all types. Returns the table's bytes; `p` receives P(i|h) of
// its entries.
template <typename T>
std::vector<char> SolveResiduals(const LevelCounts& level, Discounts kind,
                                 const TupleCounts* parent, absl::Span<const double> parent_p,
                                 std::vector<double>* p);

// DATA_LOSS when the bytes are not a table.
template <typename T>
absl::StatusOr<ResidualTable<T>> ParseResiduals(const StatisticsCache::Mapped& mapped);

// `unigrams` are the continuation counts of the root, `plain` the counts of all types.
RootDistribution SolveRoot(const TupleCounts& unigrams, absl::Span<const int64_t> plain,
                           Discounts kind);

}  // namespace saffron
