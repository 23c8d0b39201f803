#include "core/transformer/routing_statistics.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "core/base/check.h"
#include "core/base/random.h"

namespace saffron {
namespace {

// x log x, and its limit at 0.
double XLogX(double x) { return x > 0 ? x * std::log(x) : 0; }

}  // namespace

double MutualInformation(absl::Span<const int32_t> a, absl::Span<const int32_t> b, int classes) {
  CHECK(a.size() == b.size()) << a.size() << " and " << b.size();
  if (a.empty()) return 0;
  const size_t width = static_cast<size_t>(classes);
  const size_t rows = static_cast<size_t>(*std::max_element(a.begin(), a.end())) + 1;
  std::vector<int64_t> joint(rows * width), of_b(width);
  for (size_t i = 0; i < a.size(); ++i) {
    ++joint[static_cast<size_t>(a[i]) * width + static_cast<size_t>(b[i])];
    ++of_b[static_cast<size_t>(b[i])];
  }
  // I = (sum n_ab log n_ab - sum n_a log n_a - sum n_b log n_b) / n + log n
  double sum = 0;
  for (size_t row = 0; row < rows; ++row) {
    int64_t of_a = 0;
    for (size_t column = 0; column < width; ++column) {
      of_a += joint[row * width + column];
      sum += XLogX(static_cast<double>(joint[row * width + column]));
    }
    sum -= XLogX(static_cast<double>(of_a));
  }
  for (const int64_t count : of_b) sum -= XLogX(static_cast<double>(count));
  const auto n = static_cast<double>(a.size());
  return std::max(0.0, sum / n + std::log(n));
}

std::vector<double> Divergences(absl::Span<const int32_t> a, absl::Span<const int32_t> b,
                                int classes) {
  CHECK(a.size() == b.size()) << a.size() << " and " << b.size();
  std::vector<double> divergences(static_cast<size_t>(classes));
  if (a.empty()) return divergences;
  const size_t width = divergences.size();
  const size_t rows = static_cast<size_t>(*std::max_element(a.begin(), a.end())) + 1;
  std::vector<int64_t> joint(rows * width), of_b(width);
  for (size_t i = 0; i < a.size(); ++i) {
    ++joint[static_cast<size_t>(a[i]) * width + static_cast<size_t>(b[i])];
    ++of_b[static_cast<size_t>(b[i])];
  }
  const auto n = static_cast<double>(a.size());
  // KL_b = sum_a n_ab log(n_ab n / (n_a n_b)) / n_b
  for (size_t row = 0; row < rows; ++row) {
    const auto begin = joint.begin() + static_cast<std::ptrdiff_t>(row * width);
    const auto of_a = static_cast<double>(
        std::accumulate(begin, begin + static_cast<std::ptrdiff_t>(width), int64_t{0}));
    for (size_t column = 0; column < width; ++column) {
      const auto both = static_cast<double>(joint[row * width + column]);
      const auto of = static_cast<double>(of_b[column]);
      if (both > 0) divergences[column] += both * std::log(both * n / (of_a * of)) / of;
    }
  }
  for (double& divergence : divergences) divergence = std::max(0.0, divergence);
  return divergences;
}

void LayerRouting::Trace(const MoeRoutingView& routing, int64_t row, int32_t token) {
  const MoeChoice* const choices = routing.choices + row * routing.top;
  for (int j = 0; j < routing.top; ++j) {
    if (!choices[j].taken()) continue;
    trace_.push_back({.row = rows_,
                      .position = row % routing.length,
                      .token = token,
                      .choice = j,
                      .expert = choices[j].expert,
                      .gate = choices[j].gate,
                      .kept = choices[j].kept()});
  }
}

void LayerRouting::Add(const MoeRoutingView& routing, absl::Span<const int32_t> tokens) {
  CHECK(static_cast<int64_t>(tokens.size()) == routing.rows) << tokens.size() << " tokens";
  of_.resize(static_cast<size_t>(routing.experts));
  for (int64_t r = 0; r < routing.rows; ++r) {
    const MoeChoice* const choices = routing.choices + r * routing.top;
    if (rows_ < kTraceTokens) Trace(routing, r, tokens[static_cast<size_t>(r)]);
    ++rows_;
    bool served = false;
    for (int j = 0; j < routing.top; ++j) {
      if (!choices[j].taken()) continue;
      ++taken_;
      Sums& sums = of_[static_cast<size_t>(choices[j].expert)];
      ++sums.chosen;
      sums.dropped += !choices[j].kept();
      dropped_ += !choices[j].kept();
      served |= choices[j].kept();
    }
    unserved_ += !served;
    Sums& first = of_[static_cast<size_t>(choices[0].expert)];
    ++first.first;
    const double* const probabilities = routing.probabilities.row(r);
    for (int e = 0; e < routing.experts; ++e) {
      const double term = XLogX(probabilities[e]);
      entropy_ -= term;
      first.entropy -= term;
      of_[static_cast<size_t>(e)].probability += probabilities[e];
    }
    z_ += routing.logsumexp[r] * routing.logsumexp[r];
    if (static_cast<int64_t>(tokens_.size()) == kInformationSample) continue;
    tokens_.push_back(tokens[static_cast<size_t>(r)]);
    experts_.push_back(choices[0].expert);
  }
}

std::vector<int32_t> LayerRouting::ShuffledExperts() const {
  std::vector<int32_t> shuffled = experts_;
  const CounterRandom random(0, RandomPurpose::kNoise);
  for (size_t i = shuffled.size(); i > 1; --i) {
    std::swap(shuffled[i - 1], shuffled[random.Below(i, i)]);
  }
  return shuffled;
}

RoutingSummary LayerRouting::Summary() const {
  CHECK(rows_ > 0) << "no tokens were routed";
  const auto rows = static_cast<double>(rows_), taken = static_cast<double>(taken_);
  const int experts = static_cast<int>(of_.size());
  int64_t largest = 0;
  for (const Sums& sums : of_) largest = std::max(largest, sums.chosen);
  RoutingSummary summary;
  summary.largest_load = experts * static_cast<double>(largest) / taken;
  summary.drop_rate = static_cast<double>(dropped_) / taken;
  summary.unserved = static_cast<double>(unserved_) / rows;
  summary.entropy = entropy_ / rows;
  summary.z = z_ / rows;
  summary.information = MutualInformation(tokens_, experts_, experts);
  summary.information_shuffled = MutualInformation(tokens_, ShuffledExperts(), experts);
  return summary;
}

std::vector<ExpertSummary> LayerRouting::Experts() const {
  CHECK(rows_ > 0) << "no tokens were routed";
  const auto per = [](double sum, int64_t count) {
    return count > 0 ? sum / static_cast<double>(count) : 0;
  };
  const int experts = static_cast<int>(of_.size());
  const std::vector<double> information = Divergences(tokens_, experts_, experts);
  const std::vector<double> shuffled = Divergences(tokens_, ShuffledExperts(), experts);
  std::vector<ExpertSummary> all;
  for (size_t e = 0; e < of_.size(); ++e) {
    const Sums& sums = of_[e];
    all.push_back({.chosen = sums.chosen,
                   .dropped = sums.dropped,
                   .first = sums.first,
                   .load = per(experts * static_cast<double>(sums.chosen), taken_),
                   .drop_rate = per(static_cast<double>(sums.dropped), sums.chosen),
                   .probability = per(sums.probability, rows_),
                   .entropy = per(sums.entropy, sums.first),
                   .information = information[e],
                   .information_shuffled = shuffled[e]});
  }
  return all;
}

}  // namespace saffron
