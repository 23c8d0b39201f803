#pragma once
// Passes over targets of a stream in an order that pays: those with the same query
// token and the same next token together, so that what depends on these two is done once.

#include <algorithm>
#include <cstdint>
#include <optional>
#include <vector>

#include "absl/types/span.h"
#include "core/solve/holdout.h"
#include "core/solve/key_window.h"

namespace saffron {

// Targets with one query token (the token that keys[0] reads) and one next token, ascending.
struct TargetGroup {
  int32_t query, next;
  absl::Span<const int32_t> targets;
  int32_t soon = 0;  // `next` of a group visited shortly after
};

// Starts fetching a row of a table that will be needed soon: in this order tables are read all
// over.
template <typename T>
void PrefetchRow(const T* row, int64_t columns) {
  for (int64_t j = 0; j < columns; j += 64 / sizeof(T)) __builtin_prefetch(row + j);
}

class GroupedTargets {
 public:
  // The targets of the window's stream in `part`.
  GroupedTargets(KeyWindow window, const HoldoutRule& rule, Part part);

  // Calls visit(group) for all groups, their targets loaded, in an order that depends on the
  // stream, the rule and the kinds of keys alone.
  template <typename Visit>
  void ForEach(Visit visit) {
    const int64_t tokens = static_cast<int64_t>(window_.stream().size());
    for (int64_t first = 0; first < tokens; first += stretch_) {
      const int64_t last = std::min(first + stretch_, tokens);
      Arrange(first, last);
      for (const TargetGroup& group : groups_) visit(group);
    }
  }

  // Starts fetching the context of a target soon to be visited: in this order the stream is read
  // all over. `target` is an element of a group.
  static void Prefetch(absl::Span<const int32_t> stream, const int32_t& target) {
    __builtin_prefetch(stream.data() + (&target)[kAhead] - 1);
  }

  const KeyWindow& window() const { return window_; }

 private:
  static constexpr int kAhead = 12;

  void Arrange(int64_t first, int64_t last);

  KeyWindow window_;
  const HoldoutRule rule_;
  const Part part_;
  int64_t stretch_;              // targets arranged at a time
  int64_t arranged_first_ = -1;  // the stretch that order_ and groups_ hold
  std::vector<int32_t> order_;   // and some entries more, for Prefetch to look ahead at
  std::vector<TargetGroup> groups_;
};

}  // namespace saffron
