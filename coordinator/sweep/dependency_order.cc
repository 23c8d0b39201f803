#include "coordinator/sweep/dependency_order.h"

#include <algorithm>
#include <set>

namespace saffron {
namespace {

// A cycle among items that all have a dependency among themselves.
std::vector<int> FindCycle(const std::vector<std::vector<int>>& depends_on,
                           const std::vector<bool>& placed) {
  std::vector<int> path;
  int at = static_cast<int>(std::find(placed.begin(), placed.end(), false) - placed.begin());
  while (true) {
    const auto seen = std::find(path.begin(), path.end(), at);
    if (seen != path.end()) return {seen, path.end()};
    path.push_back(at);
    at = *std::find_if(depends_on[at].begin(), depends_on[at].end(),
                       [&placed](int other) { return !placed[other]; });
  }
}

}  // namespace

DependencyOrder OrderByDependency(const std::vector<std::vector<int>>& depends_on) {
  const int count = static_cast<int>(depends_on.size());
  std::vector<std::vector<int>> needed_by(count);
  std::vector<int> waiting_for(count, 0);
  std::vector<bool> placed(count, false);
  for (int i = 0; i < count; ++i) {
    for (int other : depends_on[i]) {
      needed_by[other].push_back(i);
      ++waiting_for[i];
    }
  }
  std::set<int> ready;
  for (int i = 0; i < count; ++i) {
    if (waiting_for[i] == 0) ready.insert(i);
  }
  DependencyOrder result;
  while (!ready.empty()) {
    const int next = *ready.begin();
    ready.erase(ready.begin());
    placed[next] = true;
    result.order.push_back(next);
    for (int dependent : needed_by[next]) {
      if (--waiting_for[dependent] == 0) ready.insert(dependent);
    }
  }
  if (static_cast<int>(result.order.size()) < count) result.cycle = FindCycle(depends_on, placed);
  return result;
}

}  // namespace saffron
