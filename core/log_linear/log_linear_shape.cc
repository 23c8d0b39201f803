#include "core/log_linear/log_linear_shape.h"

#include "core/base/check.h"

namespace saffron {
namespace {

constexpr double kOtherPrior = 0.1;

// Index of `level` among `nodes`, added after its parents if it is not there.
int NodeOf(const Level& level, std::vector<LevelNode>* nodes) {
  for (size_t n = 0; n < nodes->size(); ++n) {
    if ((*nodes)[n].level == level) return static_cast<int>(n);
  }
  const int parent = level.lags.size() == 1 ? -1 : NodeOf(level.Parent(), nodes);
  nodes->push_back({.level = level, .parent = parent});
  return static_cast<int>(nodes->size()) - 1;
}

}  // namespace

LogLinearShape::LogLinearShape(const LogLinearSpec& spec)
    : histories(spec.histories),
      gains_by_count(spec.gains_by_count),
      window(spec.window),
      dense(spec.dense) {
  CHECK(spec.order >= 1 && spec.order <= LagTemplate::kLagsMax + 1) << spec.order;
  const auto add = [this](const std::string& name, int classes, double value) {
    names.insert(names.end(), classes, name);
    prior.insert(prior.end(), classes, value);
    const int first = gains;
    gains += classes;
    return first;
  };
  const auto add_key = [&](const Level& level) {
    LevelNode& node = nodes[NodeOf(level, &nodes)];
    const std::string name = level.lags.Name();
    const int classes = gains_by_count ? kCountClasses : 1;
    node.lambda = add(name, classes, level.lags.IsChain() ? 1 : kOtherPrior);
    if (spec.seen_gains) node.mu = add(name + "_seen", classes, 0);
  };
  for (int n = 1; n < spec.order; ++n) {
    add_key(
        {LagTemplate::Chain(n), n == spec.order - 1 ? Counting::kRaw : Counting::kContinuation});
  }
  for (const LagTemplate& lags : spec.templates) add_key({lags, Counting::kRaw});
  for (HistoryKind kind : histories) {
    history_gains.push_back(kind == HistoryKind::kAll ? add("all", 8, kOtherPrior)
                            : kind == HistoryKind::kRecent
                                ? add("recent", 8, kOtherPrior)
                                : add("followers", kCountClasses, kOtherPrior));
  }
  if (spec.unigram) unigram_gain = add("unigram", 1, kOtherPrior);
  for (const KeySpec& key : TokenKeys(spec.dense)) {
    const int classes = gains_by_count && key.stream != Stream::kBag ? kCountClasses : 1;
    dense_gains.push_back(add(KeyName(key), classes, kOtherPrior));
  }
}

}  // namespace saffron
