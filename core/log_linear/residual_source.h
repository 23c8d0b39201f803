#pragma once
// The tables of evidence of a text, made when asked for and kept in the statistics cache.

#include <cstdint>
#include <map>
#include <memory>
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

// Not thread-safe. Counts are kept until they are released, so take parents before their children
// and release each when its last child is made.
template <typename T>
class ResidualSource {
 public:
  // Of `targets` of data.train. `data` and `cache` must outlive this.
  ResidualSource(const TextDataset& data, const TargetSet& targets, Discounts discounts,
                 StatisticsCache& cache);

  absl::StatusOr<ResidualTable<T>> Table(const Level& level);
  const RootDistribution& Root();
  // Forgets what the tables of `level` and of its children are made from; what is asked for again
  // is counted again.
  void Release(const Level& level);

 private:
  std::shared_ptr<const TupleCounts> RawCounts(const LagTemplate& lags);
  const LevelCounts& Counts(const Level& level);
  // The bytes of a table; its probabilities stay in p_.
  std::vector<char> Solve(const Level& level);
  const std::vector<double>& Probabilities(const Level& level);

  const TextDataset& data_;
  const TargetSet targets_;
  const Discounts discounts_;
  StatisticsCache& cache_;
  // The counts made last: a chain's top and the level below it ask for the same.
  LagTemplate raw_lags_;
  std::shared_ptr<const TupleCounts> raw_;
  std::map<Level, LevelCounts> counts_;
  std::map<Level, std::vector<double>> p_;  // P(i|h) of the entries of solved levels
  RootDistribution root_;
};

}  // namespace saffron
