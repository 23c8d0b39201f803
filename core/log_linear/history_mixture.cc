#include "core/log_linear/history_mixture.h"

#include <bit>
#include <cmath>

#include "core/base/status_macros.h"
#include "core/solve/holdout.h"

namespace saffron {
namespace {

constexpr int kRounds = 100;

// Probabilities that each component gives each target, the n-grams first; -1 where a history is
// empty. [targets][components]
using Components = std::vector<std::vector<double>>;

Components ComponentsOf(const LogLinearModel& ngrams, const std::vector<HistoryKind>& histories,
                        int window, absl::Span<const int32_t> stream,
                        absl::Span<const int64_t> targets) {
  const std::vector<double> nats = ngrams.Nats(stream, targets);
  DocumentHistory history(ngrams.tables().types, window);
  Components components;
  int64_t appended = 0;
  for (size_t n = 0; n < targets.size(); ++n) {
    while (appended < targets[n]) history.Append(stream[appended++]);
    const DocumentHistory::Shares shares = history.SharesOf(stream[targets[n]]);
    std::vector<double> p = {std::exp(-nats[n])};
    for (HistoryKind kind : histories) {
      p.push_back(kind == HistoryKind::kAll      ? shares.all
                  : kind == HistoryKind::kRecent ? shares.recent
                                                 : shares.followers);
    }
    components.push_back(std::move(p));
  }
  return components;
}

// Which components a target has, as bits.
uint32_t PatternOf(const std::vector<double>& p) {
  uint32_t pattern = 0;
  for (size_t k = 0; k < p.size(); ++k) pattern |= uint32_t{p[k] >= 0} << k;
  return pattern;
}

// The mixture of one target; `part` receives each component's share of it.
double Mix(const std::vector<double>& weights, const std::vector<double>& p,
           std::vector<double>* part) {
  double sum = 0;
  for (size_t k = 0; k < p.size(); ++k) {
    (*part)[k] = p[k] < 0 ? 0 : weights[k] * p[k];
    sum += (*part)[k];
  }
  for (double& share : *part) share /= sum;
  return sum;
}

// Expectation maximisation on the targets with `pattern`.
std::vector<double> WeightsOf(uint32_t pattern, const Components& components, size_t size) {
  std::vector<double> weights(size), part(size), sum;
  for (size_t k = 0; k < size; ++k)
    weights[k] = (pattern >> k & 1) / double(std::popcount(pattern));
  for (int round = 0; round < kRounds; ++round) {
    sum.assign(size, 0);
    double targets = 0;
    for (const std::vector<double>& p : components) {
      if (PatternOf(p) != pattern) continue;
      Mix(weights, p, &part);
      for (size_t k = 0; k < size; ++k) sum[k] += part[k];
      ++targets;
    }
    for (size_t k = 0; k < size; ++k) weights[k] = sum[k] / targets;
  }
  return weights;
}

}  // namespace

absl::StatusOr<HistoryMixture> HistoryMixture::Fit(const LogLinearSpec& spec,
                                                   const TextDataset& data,
                                                   StatisticsCache& cache) {
  LogLinearSpec chain;
  chain.order = spec.order;
  chain.discounts = spec.discounts;
  chain.calibrated = false;
  chain.refolded = false;
  ASSIGN_OR_RETURN(const LogLinearModel counted, LogLinearModel::Solve(chain, data, cache));
  const int64_t tokens = static_cast<int64_t>(data.train.size());
  const std::vector<int32_t> held = HoldoutRule::For(tokens).Targets(tokens, kHoldoutTargets);
  const Components components = ComponentsOf(counted, spec.histories, spec.window, data.train,
                                             std::vector<int64_t>(held.begin(), held.end()));
  const size_t size = spec.histories.size() + 1;
  std::map<uint32_t, std::vector<double>> weights;
  for (const std::vector<double>& p : components) {
    const uint32_t pattern = PatternOf(p);
    if (weights.count(pattern) == 0) weights[pattern] = WeightsOf(pattern, components, size);
  }
  chain.refolded = true;
  ASSIGN_OR_RETURN(LogLinearModel all, LogLinearModel::Solve(chain, data, cache));
  HistoryMixture mixture(std::move(all));
  mixture.histories_ = spec.histories;
  mixture.window_ = spec.window;
  mixture.weights_ = std::move(weights);
  return mixture;
}

std::vector<double> HistoryMixture::Nats(absl::Span<const int32_t> stream,
                                         absl::Span<const int64_t> targets) const {
  std::vector<double> nats, part(histories_.size() + 1);
  for (const std::vector<double>& p : ComponentsOf(ngrams_, histories_, window_, stream, targets)) {
    const auto weights = weights_.find(PatternOf(p));
    // A pattern that the hold-out does not show is left to the n-grams.
    nats.push_back(weights == weights_.end() ? -std::log(p[0])
                                             : -std::log(Mix(weights->second, p, &part)));
  }
  return nats;
}

}  // namespace saffron
