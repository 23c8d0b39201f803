#include "core/log_linear/residual_source.h"

#include "absl/strings/str_cat.h"
#include "core/base/status_macros.h"

namespace saffron {

Level Level::Parent() const {
  const LagTemplate parent = lags.Parent();
  return {parent, parent.IsChain() ? Counting::kContinuation : Counting::kRaw};
}

template <typename T>
ResidualSource<T>::ResidualSource(const TextDataset& data, const TargetSet& targets,
                                  Discounts discounts, StatisticsCache& cache)
    : data_(data), targets_(targets), discounts_(discounts), cache_(cache) {}

template <typename T>
std::shared_ptr<const TupleCounts> ResidualSource<T>::RawCounts(const LagTemplate& lags) {
  if (raw_ == nullptr || raw_lags_ != lags) {
    raw_ = nullptr;  // first, so that there is room for what follows
    raw_ = std::make_shared<const TupleCounts>(CountTuples(data_.train, lags, targets_));
    raw_lags_ = lags;
  }
  return raw_;
}

template <typename T>
const LevelCounts& ResidualSource<T>::Counts(const Level& level) {
  auto [it, is_new] = counts_.try_emplace(level);
  LevelCounts& made = it->second;
  if (!is_new) return made;
  const auto mark_once = [&made](const std::vector<int32_t>& occurrences) {
    made.once.reserve(occurrences.size());
    for (int32_t n : occurrences) made.once.push_back(n == 1);
  };
  if (level.counting == Counting::kRaw) {
    made.counts = RawCounts(level.lags);
    mark_once(made.counts->count);
  } else {
    const auto longer = RawCounts(LagTemplate::Chain(level.lags.size() + 1));
    made.counts = std::make_shared<const TupleCounts>(ContinuationCounts(*longer));
    mark_once(SumOutOldest(*longer).count);
  }
  return made;
}

template <typename T>
std::vector<char> ResidualSource<T>::Solve(const Level& level) {
  const LevelCounts& counts = Counts(level);
  std::vector<double>* const p = &p_[level];
  if (level.lags.size() == 1) {
    return SolveResiduals<T>(counts, discounts_, nullptr, Root().p1, p);
  }
  const Level parent = level.Parent();
  return SolveResiduals<T>(counts, discounts_, Counts(parent).counts.get(), Probabilities(parent),
                           p);
}

template <typename T>
const std::vector<double>& ResidualSource<T>::Probabilities(const Level& level) {
  if (p_.count(level) == 0) Solve(level);
  return p_[level];
}

template <typename T>
const RootDistribution& ResidualSource<T>::Root() {
  if (!root_.p1.empty()) return root_;
  std::vector<int64_t> plain(data_.vocab);
  const int64_t tokens = static_cast<int64_t>(data_.train.size());
  for (int64_t t = targets_.first; t < std::min(targets_.last, tokens); ++t) {
    if (targets_.Has(t)) ++plain[data_.train[t]];
  }
  root_ = SolveRoot(*Counts({LagTemplate::Chain(0), Counting::kContinuation}).counts, plain,
                    discounts_);
  return root_;
}

template <typename T>
void ResidualSource<T>::Release(const Level& level) {
  counts_.erase(level);
  p_.erase(level);
}

template <typename T>
absl::StatusOr<ResidualTable<T>> ResidualSource<T>::Table(const Level& level) {
  const std::string key = absl::StrCat(
      "log_linear/1/", data_.stream_key, "/", targets_.first, "-", targets_.last, "/",
      targets_.rule.Key(), targets_.counted ? "c" : "", targets_.held ? "h" : "", "/",
      discounts_ == Discounts::kModified ? "modified" : "single", "/", level.lags.Name(),
      level.counting == Counting::kRaw ? "/raw" : "/continuation", "/f", sizeof(T));
  ASSIGN_OR_RETURN(const StatisticsCache::Mapped mapped,
                   cache_.MapOrCompute(
                       key, [&]() -> absl::StatusOr<std::vector<char>> { return Solve(level); }));
  return ParseResiduals<T>(mapped);
}

template class ResidualSource<float>;
template class ResidualSource<double>;

}  // namespace saffron
