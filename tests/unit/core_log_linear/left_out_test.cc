// Evidence of a target that is left out, against recounting the text without it.

#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <set>
#include <string>

#include "core/log_linear/log_linear_shape.h"
#include "core/log_linear/position_evidence.h"
#include "tests/unit/core_log_linear/sample_text.h"

namespace saffron {
namespace {

constexpr int kVocab = 12;

TargetSet All(const TextDataset& data) {
  const int64_t tokens = std::ssize(data.train);
  return {.first = 0, .last = tokens, .rule = HoldoutRule::For(tokens), .held = true};
}

// A text of events (history of t, token t), one for every target but `without`, counted by
// definition. Other targets keep their histories, in which the token of `without` still stands.
class Recount {
 public:
  Recount(absl::Span<const int32_t> stream, int64_t without) : stream_(stream), without_(without) {}

  // By next token, in the context that target t has.
  std::map<int32_t, int> CountsOf(const Level& level, int64_t t) const {
    std::map<int32_t, int> raw;
    std::map<int32_t, std::set<int32_t>> before;
    const bool is_raw = level.counting == Counting::kRaw;
    const int64_t reach = is_raw ? level.lags.last() : level.lags.size() + 1;
    for (int64_t s = reach; s < std::ssize(stream_); ++s) {
      bool is_same = s != without_;
      for (int k = 0; k < level.lags.size(); ++k) {
        is_same = is_same && stream_[s - level.lags[k]] == stream_[t - level.lags[k]];
      }
      if (!is_same) continue;
      ++raw[stream_[s]];
      if (!is_raw) before[stream_[s]].insert(stream_[s - reach]);
    }
    if (is_raw) return raw;
    std::map<int32_t, int> continuations;
    for (const auto& [i, some] : before) continuations[i] = static_cast<int>(some.size());
    return continuations;
  }

 private:
  absl::Span<const int32_t> stream_;
  int64_t without_;
};

// Logits of target t, by definition; discounts and the root as they are in the tables.
std::vector<double> LogitsByRecounting(const LogLinearShape& shape,
                                       const LogLinearTables<double>& tables,
                                       absl::Span<const int32_t> stream, int64_t t,
                                       const std::vector<double>& gains) {
  const Recount recount(stream, t);
  std::vector<double> z = BaseLogits(shape, tables, gains);
  std::vector<std::vector<double>> p(shape.nodes.size());
  for (size_t n = 0; n < shape.nodes.size(); ++n) {
    const LevelNode& node = shape.nodes[n];
    for (int i = 0; i < kVocab; ++i) {
      p[n].push_back(node.parent < 0 ? std::exp(tables.log_p1[i]) : p[node.parent][i]);
    }
    if (t < node.level.lags.last()) continue;
    const auto counts = recount.CountsOf(node.level, t);
    const auto& discounts = tables.tables[n].discounts;
    double total = 0, backoff = 0;
    for (const auto& [i, c] : counts) {
      total += c;
      backoff += DiscountOf(discounts, c);
    }
    if (total == 0) continue;
    for (int i = 0; i < kVocab; ++i) {
      const auto it = counts.find(i);
      const double kept = it == counts.end() ? 0 : it->second - DiscountOf(discounts, it->second);
      const double handed_down = backoff * p[n][i];
      if (node.lambda >= 0 && it != counts.end()) {
        const int b = shape.ClassOf(static_cast<int64_t>(total));
        z[i] += gains[node.lambda + b] * std::log1p(kept / handed_down) + gains[node.mu + b];
      }
      p[n][i] = (kept + handed_down) / total;
    }
  }
  return z;
}

struct Case {
  int order;
  std::string templates;
  Discounts discounts;
};
void PrintTo(const Case& c, std::ostream* out) {
  *out << "order " << c.order << ", templates " << c.templates << ", "
       << (c.discounts == Discounts::kModified ? "modified" : "single");
}

std::vector<Case> Cases() {
  std::vector<Case> cases;
  for (int order = 1; order <= 5; ++order) {
    for (const char* templates :
         {"none", "skip", "1.3", "skip+pair", "2.4+3.4", "1.2.4", "1.3+1.3.4", "1.2.3.5+1.4"}) {
      for (const Discounts discounts : {Discounts::kSingle, Discounts::kModified}) {
        cases.push_back({order, templates, discounts});
      }
    }
  }
  return cases;
}

class LeftOut : public testing::TestWithParam<Case> {};
INSTANTIATE_TEST_SUITE_P(Shapes, LeftOut, testing::ValuesIn(Cases()));

TEST_P(LeftOut, IsWhatRecountingWithoutTheTargetGivesAtEveryPosition) {
  const TextDataset data = SampleText(kVocab, 300);
  LogLinearSpec spec;
  spec.order = GetParam().order;
  spec.templates = *ParseTemplates(GetParam().templates);
  spec.seen_gains = true;
  const LogLinearShape shape(spec);
  StatisticsCache cache({});
  const auto tables =
      LogLinearTables<double>::Load(shape, data, All(data), GetParam().discounts, cache);
  ASSERT_TRUE(tables.ok()) << tables.status();
  std::vector<double> gains;  // all different
  for (int g = 0; g < shape.gains; ++g) gains.push_back(0.5 + 0.37 * (g % 5) - 0.01 * g);
  PositionEvidence<double> left_out(shape, *tables, data.train, Counted::kLeftOut);
  for (int64_t t = 0; t < std::ssize(data.train); ++t) {
    // These have a context whose longer one begins before the text (position_evidence.h).
    if (t >= 2 && t <= spec.order - 2) continue;
    const auto want = LogitsByRecounting(shape, *tables, data.train, t, gains);
    std::vector<double> got = BaseLogits(shape, *tables, gains);
    AddRows(left_out.RowsOf(t), gains, got.data());
    for (int i = 0; i < kVocab; ++i) {
      ASSERT_NEAR(got[i], want[i], 1e-9) << "target " << t << ", token " << i;
    }
  }
}

}  // namespace
}  // namespace saffron
