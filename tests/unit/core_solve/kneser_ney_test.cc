#include "core/solve/kneser_ney.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <map>
#include <set>

#include "core/base/random.h"
#include "core/solve/unigram.h"

namespace saffron {
namespace {

// A stream with structure: each token depends on the one before.
std::vector<int32_t> RandomStream(int length, int vocab) {
  const CounterRandom random(3, RandomPurpose::kTest);
  std::vector<int32_t> s = {0};
  for (int t = 1; t < length; ++t) {
    const double u = random.Uniform(t);
    s.push_back(static_cast<int32_t>(u * u * vocab + s.back()) % vocab);
  }
  return s;
}

TEST(KneserNey, EveryDistributionSumsToOneAndAgreesWithTheChain) {
  const int vocab = 17;
  const auto stream = RandomStream(600, vocab);
  for (Discounts discounts : {Discounts::kSingle, Discounts::kModified}) {
    for (int order = 2; order <= 5; ++order) {
      const auto model = KneserNeyModel::Fit(stream, vocab, order, discounts);
      ASSERT_TRUE(model.ok()) << model.status();
      const auto fresh = RandomStream(700, vocab);
      const auto nats = model->Nats(fresh, 600);
      ASSERT_EQ(nats.size(), 100u);
      for (int t = 600; t < 700; ++t) {
        const auto p = model->Distribution(absl::MakeConstSpan(fresh).subspan(0, t));
        double sum = 0;
        for (double v : p) sum += v;
        EXPECT_NEAR(sum, 1, 1e-12);
        EXPECT_NEAR(-std::log(p[fresh[t]]), nats[t - 600], 1e-12);
      }
    }
  }
}

// The bigram model straight from its definition, with sets and maps.
TEST(KneserNey, OrderTwoIsTheDefinition) {
  const int vocab = 9;
  const auto s = RandomStream(200, vocab);
  std::map<std::pair<int, int>, int> c;
  std::map<int, std::set<int>> left;
  std::map<int, int> total, types;
  for (size_t t = 1; t < s.size(); ++t) {
    if (c[{s[t - 1], s[t]}]++ == 0) ++types[s[t - 1]];
    ++total[s[t - 1]];
    left[s[t]].insert(s[t - 1]);
  }
  const auto discount = [](const std::vector<int>& counts) {
    double n1 = 0, n2 = 0;
    for (int n : counts) n1 += n == 1, n2 += n == 2;
    return n1 > 0 ? n1 / (n1 + 2 * n2) : 0.5;
  };
  std::vector<int> raw, continuation;
  for (const auto& [pair, n] : c) raw.push_back(n);
  for (const auto& [word, who] : left) continuation.push_back(static_cast<int>(who.size()));
  const double d2 = discount(raw), d1 = discount(continuation);
  const double pairs = static_cast<double>(c.size());
  const auto model = KneserNeyModel::Fit(s, vocab, 2, Discounts::kSingle);
  ASSERT_TRUE(model.ok());
  for (int h = 0; h < vocab; ++h) {
    const auto p = model->Distribution({h});
    for (int i = 0; i < vocab; ++i) {
      const double n = left.count(i) ? static_cast<double>(left[i].size()) : 0;
      const double p1 =
          (std::max(n - d1, 0.0) + d1 * static_cast<double>(left.size()) / vocab) / pairs;
      const double p2 = (std::max(c[{h, i}] - d2, 0.0) + d2 * types[h] * p1) / total[h];
      EXPECT_NEAR(p[i], p2, 1e-12) << h << ' ' << i;
    }
  }
}

// Any order and both kinds of discount from their definitions: recursion over maps of whole
// n-grams.
class NaiveKneserNey {
 public:
  using Words = std::vector<int32_t>;
  NaiveKneserNey(const Words& s, int vocab, int order, Discounts kind) : vocab_(vocab) {
    c_.resize(order + 1);
    for (int n = 1; n <= order; ++n) {
      std::map<Words, std::set<int32_t>> left;
      for (size_t t = n - 1; t < s.size(); ++t) {
        const Words gram(s.begin() + (t + 1 - n), s.begin() + t + 1);
        if (n == order) {
          c_[n][gram] += 1;
        } else if (t >= static_cast<size_t>(n)) {
          left[gram].insert(s[t - n]);
        }
      }
      for (const auto& [gram, who] : left) c_[n][gram] = static_cast<double>(who.size());
      double of[5] = {};  // n-grams with a count of 1, 2, 3, 4
      for (const auto& [gram, count] : c_[n]) {
        if (count <= 4) of[static_cast<int>(count)] += 1;
      }
      const double y = of[1] > 0 ? of[1] / (of[1] + 2 * of[2]) : 0.5;
      const auto modified = [&](int k) {
        return of[k] > 0 ? std::clamp(k - (k + 1) * y * of[k + 1] / of[k], 0.01, 1.0 * k) : y;
      };
      d_.push_back(kind == Discounts::kSingle ? Three{y, y, y}
                                              : Three{modified(1), modified(2), modified(3)});
    }
  }
  // `history` at most order - 1 long.
  double P(Words history, int32_t word) const {
    const size_t n = history.size() + 1;
    const double below = n == 1 ? 1.0 / vocab_ : P({history.begin() + 1, history.end()}, word);
    double total = 0, handed_down = 0, kept = 0;
    for (int32_t i = 0; i < vocab_; ++i) {
      Words gram = history;
      gram.push_back(i);
      const auto found = c_[n].find(gram);
      if (found == c_[n].end()) continue;
      const double d = d_[n - 1][std::min(static_cast<int>(found->second), 3) - 1];
      total += found->second;
      handed_down += d;
      if (i == word) kept = found->second - d;
    }
    return total > 0 ? (kept + handed_down * below) / total : below;
  }

 private:
  using Three = std::array<double, 3>;
  int vocab_;
  std::vector<std::map<Words, double>> c_;  // by length: counts at the top, left neighbours below
  std::vector<Three> d_;                    // by length - 1: D1, D2, D3+
};

TEST(KneserNey, EveryOrderIsTheDefinition) {
  const int vocab = 23;
  const auto train = RandomStream(1500, vocab), fresh = RandomStream(1600, vocab);
  for (Discounts discounts : {Discounts::kSingle, Discounts::kModified}) {
    for (int order = 2; order <= 5; ++order) {
      const NaiveKneserNey naive(train, vocab, order, discounts);
      const auto model = KneserNeyModel::Fit(train, vocab, order, discounts);
      ASSERT_TRUE(model.ok());
      const auto nats = model->Nats(fresh, 1500);
      for (int t = 1500; t < 1600; ++t) {
        const std::vector<int32_t> history(fresh.begin() + (t + 1 - order), fresh.begin() + t);
        EXPECT_NEAR(nats[t - 1500], -std::log(naive.P(history, fresh[t])), 1e-12)
            << "order " << order << ", target " << t;
      }
    }
  }
}

TEST(KneserNey, AnUnseenHistoryFallsBackToTheLongestSeenSuffix) {
  // 3 is never followed by 3.
  const std::vector<int32_t> s = {0, 1, 2, 3, 0, 1, 2, 3, 1, 2, 0, 1, 3, 2};
  const auto model = KneserNeyModel::Fit(s, 5, 3, Discounts::kSingle);
  ASSERT_TRUE(model.ok());
  EXPECT_EQ(model->Distribution({3, 3, 1}), model->Distribution({3, 1}));
  // 4 never occurs at all: the unigram level remains.
  EXPECT_EQ(model->Distribution({1, 2, 4}), model->Distribution({}));
  EXPECT_GT(model->Distribution({1, 2})[4], 0);
}

TEST(KneserNey, RefusesWhatItCannotFit) {
  const std::vector<int32_t> s = {0, 1, 2};
  EXPECT_EQ(KneserNeyModel::Fit(s, 3, 6, Discounts::kSingle).status().code(),
            absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(KneserNeyModel::Fit(s, 3, 4, Discounts::kSingle).status().code(),
            absl::StatusCode::kInvalidArgument);
}

TEST(KneserNey, AConstantStreamStillGivesEverythingAChance) {
  const std::vector<int32_t> s(50, 1);
  for (Discounts discounts : {Discounts::kSingle, Discounts::kModified}) {
    const auto model = KneserNeyModel::Fit(s, 4, 3, discounts);
    ASSERT_TRUE(model.ok());
    for (double p : model->Distribution({1, 1})) EXPECT_GT(p, 0);
  }
}

TEST(Unigram, IsAddAHalf) {
  const auto model = UnigramModel::Fit({0, 2, 2, 2}, 3);
  EXPECT_NEAR(model.log_p[0], std::log(1.5 / 5.5), 1e-15);
  EXPECT_NEAR(model.log_p[1], std::log(0.5 / 5.5), 1e-15);
  EXPECT_EQ(model.Nats({0, 1, 2}, 1), (std::vector<double>{-model.log_p[1], -model.log_p[2]}));
}

}  // namespace
}  // namespace saffron
