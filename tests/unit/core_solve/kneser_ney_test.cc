#include "core/solve/kneser_ney.h"

#include <gtest/gtest.h>

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
