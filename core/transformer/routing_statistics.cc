#include "core/transformer/routing_statistics.h"

#include <algorithm>
#include <cmath>

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

void LayerRouting::Add(const MoeRoutingView& routing, absl::Span<const int32_t> tokens) {
  CHECK(static_cast<int64_t>(tokens.size()) == routing.rows) << tokens.size() << " tokens";
  load_.resize(static_cast<size_t>(routing.experts));
  rows_ += routing.rows;
  for (int64_t r = 0; r < routing.rows; ++r) {
    const MoeChoice* const choices = routing.choices + r * routing.top;
    bool served = false;
    for (int j = 0; j < routing.top; ++j) {
      if (!choices[j].taken()) continue;
      ++taken_;
      ++load_[static_cast<size_t>(choices[j].expert)];
      dropped_ += !choices[j].kept();
      served |= choices[j].kept();
    }
    unserved_ += !served;
    for (int e = 0; e < routing.experts; ++e) entropy_ -= XLogX(routing.probabilities.row(r)[e]);
    z_ += routing.logsumexp[r] * routing.logsumexp[r];
    if (static_cast<int64_t>(tokens_.size()) == kInformationSample) continue;
    tokens_.push_back(tokens[static_cast<size_t>(r)]);
    experts_.push_back(choices[0].expert);
  }
}

RoutingSummary LayerRouting::Summary() const {
  CHECK(rows_ > 0) << "no tokens were routed";
  const auto rows = static_cast<double>(rows_), taken = static_cast<double>(taken_);
  const int experts = static_cast<int>(load_.size());
  RoutingSummary summary;
  summary.largest_load =
      experts * static_cast<double>(*std::max_element(load_.begin(), load_.end())) / taken;
  summary.drop_rate = static_cast<double>(dropped_) / taken;
  summary.unserved = static_cast<double>(unserved_) / rows;
  summary.entropy = entropy_ / rows;
  summary.z = z_ / rows;
  summary.information = MutualInformation(tokens_, experts_, experts);
  std::vector<int32_t> shuffled = experts_;
  const CounterRandom random(0, RandomPurpose::kNoise);
  for (size_t i = shuffled.size(); i > 1; --i) {
    std::swap(shuffled[i - 1], shuffled[random.Below(i, i)]);
  }
  summary.information_shuffled = MutualInformation(tokens_, shuffled, experts);
  return summary;
}

}  // namespace saffron
