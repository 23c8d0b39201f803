#include "core/solve/target_groups.h"

#include <utility>

namespace saffron {
namespace {

// `targets` stably by key(t) < keys.
template <typename KeyOf>
std::vector<int32_t> SortedBy(const std::vector<int32_t>& targets, int keys, KeyOf key) {
  std::vector<int32_t> next(keys + 1);
  for (int32_t t : targets) ++next[key(t) + 1];
  for (int i = 0; i < keys; ++i) next[i + 1] += next[i];
  std::vector<int32_t> sorted(targets.size());
  for (int32_t t : targets) sorted[next[key(t)]++] = t;
  return sorted;
}

}  // namespace

GroupedTargets::GroupedTargets(KeyWindow window, const HoldoutRule& rule, Part part)
    : window_(std::move(window)), rule_(rule), part_(part) {
  const auto& keys = window_.keys();
  // Rows of r and o keys exist a stretch at a time; token keys are always at hand.
  const bool everywhere = std::all_of(keys.begin(), keys.end(), IsTokenKey);
  stretch_ = everywhere ? static_cast<int64_t>(window_.stream().size()) : 16'384;
}

void GroupedTargets::Arrange(int64_t first, int64_t last) {
  if (arranged_first_ == first) return;
  arranged_first_ = first;
  window_.Load(first, last);
  const absl::Span<const int32_t> stream = window_.stream();
  const int vocab = window_.features().cipher.rows();
  const auto next_of = [&](int32_t t) { return stream[t]; };
  const auto query_of = [&](int32_t t) {
    return TokenOfKey(stream, window_.features().padding, window_.keys()[0], t);
  };
  order_.clear();
  for (int64_t t = first; t < last; ++t) {
    if (rule_.IsIn(part_, t)) order_.push_back(static_cast<int32_t>(t));
  }
  order_ = SortedBy(SortedBy(order_, vocab, next_of), vocab, query_of);
  const size_t targets = order_.size();
  order_.resize(targets + kAhead);
  groups_.clear();
  for (size_t i = 0; i < targets;) {
    const auto pair = std::make_pair(query_of(order_[i]), next_of(order_[i]));
    size_t end = i + 1;
    while (end < targets && query_of(order_[end]) == pair.first &&
           next_of(order_[end]) == pair.second) {
      ++end;
    }
    groups_.push_back({pair.first, pair.second, absl::MakeConstSpan(order_.data() + i, end - i)});
    i = end;
  }
  constexpr size_t kGroupsAhead = 3;
  for (size_t i = 0; i < groups_.size(); ++i) {
    groups_[i].soon = groups_[std::min(i + kGroupsAhead, groups_.size() - 1)].next;
  }
}

}  // namespace saffron
