#pragma once
// The tables of evidence of a text, made when asked for and kept in the statistics cache.

#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "core/data/data_store.h"
#include "core/log_linear/residual_table.h"
#include "core/log_linear/tuple_counts.h"
#include "core/model/lag_template.h"
#include "core/solve/discounts.h"
#include "core/solve/statistics_cache.h"

namespace saffron {

enum class Counting : uint8_t {
  kRaw,           // occurrences
  kContinuation,  // distinct tokens before them: what shorter n-grams of a chain count
};

// A template as it is counted. Chains that others back off to count continuations.
struct Level {
  LagTemplate lags;
  Counting counting = Counting::kRaw;

  Level Parent() const;
  friend auto operator<=>(const Level&, const Level&) = default;
};

// Raw counts of the targets that are not held out are kept by template, for other key sets, other
// discounts, and for all targets: those are their counts and those of the hold-out, added up.
// A template that another of the key set extends is summed out of it. Prefixes and vocabularies
// have files of their own: adding up cuts takes longer than counting, and merging types (8,192 into
// 4,096, a million tokens) saves 0.1 s of a model's 4 s, the longest templates nothing.
//
// Not thread-safe. Counts are kept in memory until they are released, so take parents before their
// children and release each when its last child is made.
template <typename T>
class ResidualSource {
 public:
  // Of `targets` of data.train. `levels` are those that tables will be asked for of: what is
  // counted first goes by them. `data` and `cache` must outlive this.
  ResidualSource(const TextDataset& data, const TargetSet& targets, Discounts discounts,
                 const std::vector<Level>& levels, StatisticsCache& cache);

  // Errors of StatisticsCache.
  absl::StatusOr<ResidualTable<T>> Table(const Level& level);
  absl::StatusOr<const RootDistribution*> Root();
  // Forgets what the tables of `level` and of its children are made from; what is asked for again
  // is counted again.
  void Release(const Level& level);

 private:
  absl::StatusOr<std::shared_ptr<const TupleCounts>> RawCounts(const LagTemplate& lags);
  // Of the targets that are not held out.
  absl::StatusOr<TupleCounts> CountedTuples(const LagTemplate& lags);
  absl::StatusOr<TupleCounts> CountOrSumOut(const LagTemplate& lags);
  absl::StatusOr<const LevelCounts*> Counts(const Level& level);
  // The bytes of a table; its probabilities stay in p_.
  absl::StatusOr<std::vector<char>> Solve(const Level& level);
  absl::StatusOr<const std::vector<double>*> Probabilities(const Level& level);
  // What cached counts are named by: stream, its range, and what is held out of it.
  std::string RangeKey() const;

  const TextDataset& data_;
  const TargetSet targets_;
  const Discounts discounts_;
  std::set<LagTemplate> templates_;  // whose raw counts the levels need
  StatisticsCache& cache_;
  // The counts made last: a chain's top and the level below it ask for the same.
  LagTemplate raw_lags_;
  std::shared_ptr<const TupleCounts> raw_;
  std::map<Level, LevelCounts> counts_;
  std::map<Level, std::vector<double>> p_;  // P(i|h) of the entries of solved levels
  RootDistribution root_;
};

}  // namespace saffron
