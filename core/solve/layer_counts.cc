#include "core/solve/layer_counts.h"

#include <algorithm>

#include "core/base/status_macros.h"
#include "core/solve/count_table.h"

namespace saffron {
namespace {

constexpr int64_t kStretch = 16'384;

// Calls visit(t) for every target of the part, loaded.
template <typename Visit>
void ForEachTarget(const HoldoutRule& rule, Part part, KeyWindow* window, Visit visit) {
  const int64_t tokens = static_cast<int64_t>(window->stream().size());
  for (int64_t first = 0; first < tokens; first += kStretch) {
    const int64_t last = std::min(first + kStretch, tokens);
    window->Load(first, last);
    for (int64_t t = first; t < last; ++t) {
      if (rule.IsIn(part, t)) visit(t);
    }
  }
}

void AddVector(const KeyVector& x, double times, double* row) {
  if (x.index != nullptr) {
    for (int e = 0; e < x.size; ++e) row[x.index[e]] += times * x.value[e];
  } else {
    for (int e = 0; e < x.size; ++e) row[e] += times * x.value[e];
  }
}

}  // namespace

absl::StatusOr<std::vector<KeyCounts>> CountKeys(const LayerProblem& problem,
                                                 const HoldoutRule& rule, Part part,
                                                 KeyWindow* window) {
  const int vocab = problem.data.vocab;
  std::vector<KeyCounts> counts;
  std::vector<int> positional;
  for (const KeySpec& key : problem.shape.keys) {
    if (!IsTokenKey(key)) {
      positional.push_back(static_cast<int>(counts.size()));
      counts.push_back({Matrix<double>::Zero(vocab, key.dim)});
      continue;
    }
    ASSIGN_OR_RETURN(const CountTable lag, LagCounts(problem.data, key.lag, part, problem.cache));
    counts.push_back(key.stream == Stream::kCipher
                         ? CountsOfCipherKey(lag, problem.features.cipher)
                         : CountsOfContextKey(lag, problem.features.context));
  }
  if (positional.empty()) return counts;
  ForEachTarget(rule, part, window, [&](int64_t t) {
    for (int k : positional) {
      AddVector(window->At(k, t), 1, counts[k].token_major.row(window->stream()[t]).data());
    }
  });
  return counts;
}

}  // namespace saffron
