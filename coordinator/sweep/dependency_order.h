#pragma once
// Topological order, or the cycle that forbids one.

#include <vector>

namespace saffron {

struct DependencyOrder {
  std::vector<int> order;  // every item after those it depends on, else in ascending order
  std::vector<int> cycle;  // when not empty: items each of which depends on the next, the last on
                           // the first; `order` is then of no use
};

// `depends_on[i]`: the items that item i depends on.
DependencyOrder OrderByDependency(const std::vector<std::vector<int>>& depends_on);

}  // namespace saffron
