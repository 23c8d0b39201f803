#include "core/log_linear/residual_source.h"

#include <algorithm>
#include <optional>

#include "absl/strings/str_cat.h"
#include "core/base/status_macros.h"

namespace saffron {

Level Level::Parent() const {
  const LagTemplate parent = lags.Parent();
  return {parent, parent.IsChain() ? Counting::kContinuation : Counting::kRaw};
}

template <typename T>
ResidualSource<T>::ResidualSource(const TextDataset& data, const TargetSet& targets,
                                  Discounts discounts, const std::vector<Level>& levels,
                                  StatisticsCache& cache)
    : data_(data), targets_(targets), discounts_(discounts), cache_(cache) {
  for (const Level& level : levels) {
    templates_.insert(level.counting == Counting::kRaw ? level.lags
                                                       : LagTemplate::Chain(level.lags.size() + 1));
  }
}

template <typename T>
std::string ResidualSource<T>::RangeKey() const {
  return absl::StrCat(data_.stream_key, "/", targets_.first, "-", targets_.last, "/",
                      targets_.rule.Key());
}

template <typename T>
absl::StatusOr<TupleCounts> ResidualSource<T>::CountOrSumOut(const LagTemplate& lags) {
  TargetSet counted = targets_;
  counted.held = false;
  for (const LagTemplate& longer : templates_) {
    if (longer.size() != lags.size() + 1 || longer.Parent() != lags) continue;
    ASSIGN_OR_RETURN(const TupleCounts counts, CountedTuples(longer));
    // Targets too near the start of the stream to have the longer context.
    counted.last = std::min<int64_t>(counted.last, longer.last());
    return AddTuples(SumOutOldest(counts), CountTuples(data_.train, lags, counted));
  }
  return CountTuples(data_.train, lags, counted);
}

template <typename T>
absl::StatusOr<TupleCounts> ResidualSource<T>::CountedTuples(const LagTemplate& lags) {
  std::optional<TupleCounts> made;
  ASSIGN_OR_RETURN(
      const StatisticsCache::Mapped mapped,
      cache_.MapOrCompute(absl::StrCat("tuple_counts/1/", RangeKey(), "/", lags.Name()),
                          [&]() -> absl::StatusOr<std::vector<char>> {
                            ASSIGN_OR_RETURN(made, CountOrSumOut(lags));
                            return BytesOf(*made);
                          }));
  if (made.has_value()) return *std::move(made);
  return ParseTupleCounts(mapped.bytes);
}

template <typename T>
absl::StatusOr<std::shared_ptr<const TupleCounts>> ResidualSource<T>::RawCounts(
    const LagTemplate& lags) {
  if (raw_ != nullptr && raw_lags_ == lags) return raw_;
  raw_ = nullptr;  // first, so that there is room for what follows
  TupleCounts sum;
  if (targets_.held) {
    TargetSet held = targets_;
    held.counted = false;
    sum = CountTuples(data_.train, lags, held);
  }
  if (targets_.counted) {
    ASSIGN_OR_RETURN(TupleCounts counted, CountedTuples(lags));
    sum = targets_.held ? AddTuples(counted, sum) : std::move(counted);
  }
  raw_ = std::make_shared<const TupleCounts>(std::move(sum));
  raw_lags_ = lags;
  return raw_;
}

template <typename T>
absl::StatusOr<const LevelCounts*> ResidualSource<T>::Counts(const Level& level) {
  if (const auto it = counts_.find(level); it != counts_.end()) return &it->second;
  LevelCounts made;
  const auto mark_once = [&made](const std::vector<int32_t>& occurrences) {
    made.once.reserve(occurrences.size());
    for (int32_t n : occurrences) made.once.push_back(n == 1);
  };
  if (level.counting == Counting::kRaw) {
    ASSIGN_OR_RETURN(made.counts, RawCounts(level.lags));
    mark_once(made.counts->count);
  } else {
    ASSIGN_OR_RETURN(const auto longer, RawCounts(LagTemplate::Chain(level.lags.size() + 1)));
    made.counts = std::make_shared<const TupleCounts>(ContinuationCounts(*longer));
    mark_once(SumOutOldest(*longer).count);
  }
  return &counts_.emplace(level, std::move(made)).first->second;
}

template <typename T>
absl::StatusOr<std::vector<char>> ResidualSource<T>::Solve(const Level& level) {
  ASSIGN_OR_RETURN(const LevelCounts* const counts, Counts(level));
  const TupleCounts* parent_counts = nullptr;
  const std::vector<double>* parent_p = nullptr;
  if (level.lags.size() == 1) {
    ASSIGN_OR_RETURN(const RootDistribution* const root, Root());
    parent_p = &root->p1;
  } else {
    ASSIGN_OR_RETURN(parent_p, Probabilities(level.Parent()));
    ASSIGN_OR_RETURN(const LevelCounts* const parent, Counts(level.Parent()));
    parent_counts = parent->counts.get();
  }
  return SolveResiduals<T>(*counts, discounts_, parent_counts, *parent_p, &p_[level]);
}

template <typename T>
absl::StatusOr<const std::vector<double>*> ResidualSource<T>::Probabilities(const Level& level) {
  if (p_.count(level) == 0) RETURN_IF_ERROR(Solve(level).status());
  return &p_[level];
}

template <typename T>
absl::StatusOr<const RootDistribution*> ResidualSource<T>::Root() {
  if (!root_.p1.empty()) return &root_;
  ASSIGN_OR_RETURN(const LevelCounts* const unigrams,
                   Counts({LagTemplate::Chain(0), Counting::kContinuation}));
  std::vector<int64_t> plain(data_.vocab);
  const int64_t tokens = static_cast<int64_t>(data_.train.size());
  for (int64_t t = targets_.first; t < std::min(targets_.last, tokens); ++t) {
    if (targets_.Has(t)) ++plain[data_.train[t]];
  }
  root_ = SolveRoot(*unigrams->counts, plain, discounts_);
  return &root_;
}

template <typename T>
void ResidualSource<T>::Release(const Level& level) {
  counts_.erase(level);
  p_.erase(level);
}

template <typename T>
absl::StatusOr<ResidualTable<T>> ResidualSource<T>::Table(const Level& level) {
  const std::string key = absl::StrCat(
      "log_linear/1/", RangeKey(), targets_.counted ? "c" : "", targets_.held ? "h" : "", "/",
      discounts_ == Discounts::kModified ? "modified" : "single", "/", level.lags.Name(),
      level.counting == Counting::kRaw ? "/raw" : "/continuation", "/f", sizeof(T));
  ASSIGN_OR_RETURN(const StatisticsCache::Mapped mapped,
                   cache_.MapOrCompute(key, [&] { return Solve(level); }));
  return ParseResiduals<T>(mapped);
}

template class ResidualSource<float>;
template class ResidualSource<double>;

}  // namespace saffron
