#include "core/solve/attention.h"

#include <gtest/gtest.h>

#include <cmath>
#include <map>

#include "core/solve/features.h"
#include "core/solve/lower_layer.h"
#include "core/solve/target_groups.h"
#include "tests/unit/core_solve/naive_saffu.h"
#include "tests/unit/core_solve/text.h"

namespace saffron {
namespace {

constexpr int kVocab = 40, kTokens = 2000;

// A layer with made-up parameters over x1 x2 c1 r.
class AttentionTest : public ::testing::Test {
 protected:
  AttentionTest() {
    const SaffuSolveSpec spec = {
        .bits = 7, .context = 2, .streams = *ParseStreams("x+c+r"), .radius = 4};
    StatisticsCache cache({});
    features_ = *BuildFeatures(spec, data_, cache);
    SaffuLayerParams<float> params;
    params.shape = SaffuShapes(spec, kVocab)[0];
    params.gain = 2.5;
    const CounterRandom random(4, RandomPurpose::kTest);
    uint64_t next = 0;
    const auto fill = [&](std::vector<float>* v, int64_t n) {
      for (int64_t i = 0; i < n; ++i) v->push_back(static_cast<float>(random.Normal(next++)));
    };
    fill(&params.beta, 4);
    fill(&params.w, 4 * 7 * 7);
    fill(&params.u, int64_t{params.shape.InputDim()} * kVocab);
    layers_.emplace_back().params = params;
  }
  KeyWindow Window() const {
    return KeyWindow(*features_, layers_[0].params.shape.keys, data_.train, nullptr);
  }
  Dense Key(int k, int64_t t) const {
    return NaiveKey(layers_, 0, layers_[0].params.shape.keys[k], *features_, data_.train, t);
  }

  const TextDataset data_ = MadeUpText(kVocab, kTokens);
  const HoldoutRule rule_ = HoldoutRule::For(kTokens);
  std::shared_ptr<const FeatureTables> features_;
  std::vector<SaffuLayerSolution> layers_;
};

TEST_F(AttentionTest, WindowsReadTheKeysOfTheDefinition) {
  KeyWindow window = Window();
  for (const auto& [first, last] : {std::pair<int64_t, int64_t>{0, 300}, {250, 260}, {513, 514}}) {
    window.Load(first, last);
    for (int64_t t = first; t < last; ++t) {
      for (int k = 0; k < 4; ++k) {
        const KeyVector x = window.At(k, t);
        Dense got(7);
        for (int e = 0; e < x.size; ++e) got[x.index == nullptr ? e : x.index[e]] += x.value[e];
        const Dense want = Key(k, t);
        for (int j = 0; j < 7; ++j) ASSERT_NEAR(got[j], want[j], 1e-6) << t << ' ' << k;
      }
    }
  }
}

TEST_F(AttentionTest, GainsAreTheSoftmaxOfScores) {
  KeyWindow window = Window();
  const AttentionGains gains(*features_, layers_[0].params);
  const std::vector<int32_t> targets = {1500, 0, 7, 1999, 700};
  const Matrix<float> got = gains.OfTargets(&window, targets);
  for (size_t i = 0; i < targets.size(); ++i) {
    const Dense a = NaiveForward(layers_, 0, *features_, data_.train, targets[i]).attention;
    for (int k = 0; k < 4; ++k) EXPECT_NEAR(got(i, k), 2.5 * a[k], 1e-5);
  }
}

TEST_F(AttentionTest, ALowerLayersOutputsAreItsForwardPass) {
  const LowerLayer lower(*features_, layers_[0].params, data_.train, nullptr);
  const Matrix<float> got = lower.Outputs(100, 110);
  ASSERT_EQ(got.cols(), kVocab);
  for (int64_t t = 100; t < 110; ++t) {
    const Dense p = NaiveForward(layers_, 0, *features_, data_.train, t).p;
    for (int i = 0; i < kVocab; ++i) EXPECT_NEAR(got(t - 100, i), p[i], 1e-5);
  }
}

TEST_F(AttentionTest, EveryCountedTargetIsInOneGroup) {
  GroupedTargets targets(Window(), rule_, Part::kCounted);
  std::map<int64_t, int> seen;
  targets.ForEach([&](const TargetGroup& group) {
    for (int32_t t : group.targets) {
      ++seen[t];
      EXPECT_EQ(group.next, data_.train[t]);
      EXPECT_EQ(group.query, NaiveToken(data_.train, data_.eod, t - 1));
    }
  });
  for (int64_t t = 0; t < kTokens; ++t) EXPECT_EQ(seen[t], rule_.Holds(t) ? 0 : 1);
}

TEST_F(AttentionTest, OneEmPassIsTheDefinition) {
  const CounterRandom random(6, RandomPurpose::kTest);
  std::vector<Matrix<float>> likelihood;
  std::vector<const Matrix<float>*> pointers;
  for (int k = 0; k < 4; ++k) {
    likelihood.push_back(Matrix<float>(kVocab, 7));
    for (int i = 0; i < kVocab * 7; ++i) {
      likelihood[k].data()[i] = static_cast<float>(0.01 + random.Uniform(1000 * k + i));
    }
  }
  for (const auto& m : likelihood) pointers.push_back(&m);
  const std::vector<double> shares = {0.4, 0.3, 0.2, 0.1};
  GroupedTargets targets(Window(), rule_, Part::kCounted);
  const auto got = SolveAttention(&targets, shares, pointers);

  std::vector<Matrix<double>> plain(4, Matrix<double>::Zero(7, 7)), explained = plain;
  std::vector<double> rho(4);
  int64_t n = 0;
  for (int64_t t = 0; t < kTokens; ++t) {
    if (rule_.Holds(t)) continue;
    ++n;
    std::vector<double> r(4);
    double total = 0;
    for (int k = 0; k < 4; ++k) {
      const Dense x = Key(k, t);
      for (int j = 0; j < 7; ++j) r[k] += shares[k] * x[j] * likelihood[k](data_.train[t], j);
      total += r[k];
    }
    for (int k = 0; k < 4; ++k) {
      r[k] /= total;
      rho[k] += r[k];
      const Dense q = Key(0, t), x = Key(k, t);
      for (int i = 0; i < 7; ++i) {
        for (int j = 0; j < 7; ++j) {
          plain[k](i, j) += q[i] * x[j];
          explained[k](i, j) += q[i] * r[k] * x[j];
        }
      }
    }
  }
  for (int k = 0; k < 4; ++k) {
    const double mean = rho[k] / n;
    for (int i = 0; i < 49; ++i) {
      const double want =
          std::log((explained[k].data()[i] + 20 * mean) / (plain[k].data()[i] + 20)) -
          std::log(mean);
      EXPECT_NEAR(got[k].data()[i], want, 1e-5);
    }
  }
}

TEST_F(AttentionTest, CountsUnderAttentionAreTheDefinition) {
  const AttentionGains gains(*features_, layers_[0].params);
  GroupedTargets targets(Window(), rule_, Part::kCounted);
  const auto got = CountAttended(gains, &targets);
  std::vector<Matrix<double>> want(4, Matrix<double>::Zero(kVocab, 7));
  for (int64_t t = 0; t < kTokens; ++t) {
    if (rule_.Holds(t)) continue;
    const Dense a = NaiveForward(layers_, 0, *features_, data_.train, t).attention;
    for (int k = 0; k < 4; ++k) {
      const Dense x = Key(k, t);
      for (int j = 0; j < 7; ++j) want[k](data_.train[t], j) += 2.5 * a[k] * x[j];
    }
  }
  for (int k = 0; k < 4; ++k) {
    EXPECT_LT((got[k].token_major - want[k]).cwiseAbs().maxCoeff(), 1e-3);
  }
}

TEST_F(AttentionTest, TheLikelihoodOfASoftTargetIsTheMeanOverItsOutputs) {
  const SparseRows codes = CipherTargets(kVocab, 11);
  Matrix<double> f(3, 11);
  for (int64_t i = 0; i < f.size(); ++i) f.data()[i] = static_cast<double>(i * i % 17);
  std::vector<double> p;
  for (int i = 0; i < 11; ++i) p.push_back((i + 1) / 66.0);
  const Matrix<float> likelihood = LikelihoodByToken(f, p, 5, &codes);
  ASSERT_EQ(likelihood.rows(), kVocab);
  for (int y = 0; y < kVocab; ++y) {
    for (int j = 0; j < 3; ++j) {
      double want = 0;
      for (int e = codes.begin[y]; e < codes.begin[y + 1]; ++e) {
        const int i = codes.index[e];
        want += codes.value[e] * (f(j, i) + 5 * p[i]) / (f.row(j).sum() + 5);
      }
      EXPECT_NEAR(likelihood(y, j), want, 1e-6);
    }
  }
}

TEST_F(AttentionTest, LikelihoodsOfAFeatureSumToOneOverTokens) {
  Matrix<double> f(3, kVocab);
  for (int64_t i = 0; i < f.size(); ++i) f.data()[i] = static_cast<double>(i % 7);
  const std::vector<double> p(kVocab, 1.0 / kVocab);
  const Matrix<float> likelihood = LikelihoodByToken(f, p, 100, nullptr);
  for (int j = 0; j < 3; ++j) EXPECT_NEAR(likelihood.col(j).sum(), 1, 1e-5);
}

}  // namespace
}  // namespace saffron
