#include "core/log_linear/dense_evidence.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "core/log_linear/gain_objective.h"
#include "core/log_linear/log_linear_model.h"
#include "core/solve/features.h"
#include "core/solve/key_counts.h"
#include "tests/unit/core_log_linear/derivatives.h"
#include "tests/unit/core_log_linear/sample_text.h"

namespace saffron {
namespace {

constexpr int kVocab = 60;

LogLinearSpec WithStreams(std::vector<Stream> streams) {
  LogLinearSpec spec;
  spec.order = 3;
  spec.dense = {.bits = 8,
                .context = 2,
                .streams = std::move(streams),
                .context_lags = 2,
                .radius = 5,
                .alpha = 20,
                .kappa = 1};
  return spec;
}
LogLinearSpec WithAll() { return WithStreams({Stream::kCipher, Stream::kContext, Stream::kBag}); }

TargetSet TargetsOf(const TextDataset& data, bool held) {
  const int64_t tokens = static_cast<int64_t>(data.train.size());
  return {.first = 0, .last = tokens, .rule = HoldoutRule::For(tokens), .held = held};
}

template <typename T>
LogLinearTables<T> Load(const LogLinearSpec& spec, const TextDataset& data, bool held) {
  StatisticsCache cache({});
  auto tables = LogLinearTables<T>::Load(LogLinearShape(spec), data, TargetsOf(data, held),
                                         spec.discounts, cache);
  EXPECT_TRUE(tables.ok()) << tables.status();
  return *std::move(tables);
}

// Everything that dense tables are made of, by definition: one target after the other, in double.
class Naive {
 public:
  Naive(const LogLinearSpec& spec, const TextDataset& data, bool held)
      : data_(data),
        spec_(spec.dense),
        keys_(TokenKeys(spec.dense)),
        cipher_(kVocab, spec.dense.bits),
        context_(kVocab, spec.dense.bits),
        followers_(Vector<double>::Zero(kVocab)) {
    const SparseRows codes = CipherTargets(kVocab, spec_.bits);
    cipher_.setZero();
    for (int w = 0; w < kVocab; ++w) {
      for (int e = codes.begin[w]; e < codes.begin[w + 1]; ++e) {
        cipher_(w, codes.index[e]) = codes.value[e];
      }
    }
    const TargetSet targets = TargetsOf(data, held);
    std::vector<int64_t> tokens(kVocab);
    context_.rowwise() = cipher_.colwise().mean();
    for (int64_t t = 0; t < targets.last; ++t) {
      if (!targets.Has(t)) continue;
      ++tokens[data.train[t]];
      context_.row(Token(t, 1)) += cipher_.row(data.train[t]);
      ++followers_[Token(t, 1)];
    }
    for (int w = 0; w < kVocab; ++w) context_.row(w) /= followers_[w] + 1;
    p_ = OutputPrior(tokens, nullptr);
    for (const KeySpec& key : keys_) {
      Matrix<double> f = Matrix<double>::Zero(spec_.bits, kVocab);
      for (int64_t t = 0; t < targets.last; ++t) {
        if (targets.Has(t)) f.col(data.train[t]) += X(key, t).transpose();
      }
      f_.push_back(f);
    }
  }

  using Row = Eigen::RowVectorXd;
  Row X(const KeySpec& key, int64_t t) const {
    if (key.stream == Stream::kCipher) return cipher_.row(Token(t, key.lag));
    if (key.stream == Stream::kContext) return context_.row(Token(t, key.lag));
    Row mean = Row::Zero(spec_.bits);
    for (int lag = 1; lag <= spec_.radius; ++lag) mean += cipher_.row(Token(t, lag));
    return mean / spec_.radius;
  }
  Row RowOf(size_t k, int64_t t) const { return X(keys_[k], t) * Evidence(f_[k]); }
  // As if target t had not been counted, but for what its pair does to others' context vectors.
  Row LeftOut(size_t k, int64_t t) const {
    const int32_t next = data_.train[t], before = Token(t, 1);
    Row x = X(keys_[k], t);
    Matrix<double> f = f_[k];
    f.col(next) -= x.transpose();
    if (keys_[k].stream == Stream::kContext && Token(t, keys_[k].lag) == before) {
      x = ((followers_[before] + 1) * x - cipher_.row(next)) / followers_[before];
    }
    return x * Evidence(f);
  }
  const std::vector<KeySpec>& keys() const { return keys_; }

 private:
  int32_t Token(int64_t t, int lag) const { return t >= lag ? data_.train[t - lag] : data_.eod; }
  Matrix<double> Evidence(const Matrix<double>& f) const {
    Matrix<float> r(f.rows(), f.cols());
    PointwiseEvidence(f, p_, spec_.alpha, spec_.kappa, r);
    return r.cast<double>();
  }

  const TextDataset& data_;
  const SaffuSolveSpec spec_;
  const std::vector<KeySpec> keys_;
  Matrix<double> cipher_, context_;
  Vector<double> followers_;
  std::vector<double> p_;
  std::vector<Matrix<double>> f_;
};

TEST(DenseEvidence, IsWhatItsDefinitionSaysOfAnyPartOfTheText) {
  const TextDataset data = SampleText(kVocab, 3000);
  const LogLinearSpec spec = WithAll();
  const LogLinearShape shape(spec);
  for (const bool held : {false, true}) {
    const auto tables = Load<float>(spec, data, held);
    const Naive naive(spec, data, held);
    DenseEvidence<float> evidence(shape, tables.dense, data.train, Counted::kAsIs);
    const std::vector<int32_t> targets = {0, 1, 7, 400, 401, 2999};
    evidence.Load(absl::MakeConstSpan(targets));
    for (size_t n = 0; n < targets.size(); ++n) {
      const auto rows = evidence.RowsOf(static_cast<int64_t>(n));
      ASSERT_EQ(rows.size(), 5u);
      for (size_t k = 0; k < rows.size(); ++k) {
        const Naive::Row want = naive.RowOf(k, targets[n]);
        for (int i = 0; i < kVocab; ++i) {
          ASSERT_NEAR(rows[k].value[i], want[i], 1e-4) << KeyName(naive.keys()[k]) << " " << i;
        }
      }
    }
  }
}

TEST(DenseEvidence, OfATargetLeftOutIsNotMadeFromIt) {
  const TextDataset data = SampleText(kVocab, 3000);
  for (const double kappa : {0.0, 1.0}) {
    LogLinearSpec spec = WithAll();
    spec.dense.kappa = kappa;
    const LogLinearShape shape(spec);
    const auto tables = Load<float>(spec, data, true);
    const Naive naive(spec, data, true);
    DenseEvidence<float> evidence(shape, tables.dense, data.train, Counted::kLeftOut),
        leaky(shape, tables.dense, data.train, Counted::kAsIs);
    double leaked = 0;
    for (int64_t t = 1; t < 3000; t += 37) {
      evidence.Load(absl::MakeConstSpan(&t, 1));
      leaky.Load(absl::MakeConstSpan(&t, 1));
      for (size_t k = 0; k < naive.keys().size(); ++k) {
        const Naive::Row want = naive.LeftOut(k, t);
        const float* const got = evidence.RowsOf(0)[k].value;
        const float* const as_is = leaky.RowsOf(0)[k].value;
        // The same constant added to all is the same evidence.
        const int32_t next = data.train[t], other = (next + 1) % kVocab;
        const double tolerance = kappa == 0 ? 1e-4 : 5e-3;
        for (int i = 0; i < kVocab; ++i) {
          ASSERT_NEAR(got[i] - got[other], want[i] - want[other], tolerance)
              << KeyName(naive.keys()[k]) << " " << t << " " << i;
        }
        leaked += (as_is[next] - as_is[other]) - (got[next] - got[other]);
      }
    }
    EXPECT_GT(leaked, 1);
  }
}

TEST(DenseEvidence, KnowsNothingOfTheHoldoutBeforeItIsFolded) {
  const TextDataset data = SampleText(kVocab, 4000);
  TextDataset other = data;
  other.stream_key += "/changed";
  const HoldoutRule rule = HoldoutRule::For(4000);
  const LogLinearSpec spec = WithAll();
  // But for the last ones of a block, which are contexts of counted targets.
  int changed = 0;
  for (int64_t t = 0; t + spec.dense.radius < 4000; ++t) {
    if (!rule.Holds(t) || !rule.Holds(t + spec.dense.radius)) continue;
    other.train[t] = (other.train[t] + 5) % kVocab;
    ++changed;
  }
  ASSERT_GT(changed, 100);
  for (const bool held : {false, true}) {
    const auto a = Load<float>(spec, data, held).dense, b = Load<float>(spec, other, held).dense;
    EXPECT_EQ(a.p == b.p, !held);
    EXPECT_EQ(a.token_counts == b.token_counts, !held);
    EXPECT_EQ(a.features.context == b.features.context, !held);
    for (size_t k = 0; k < a.keys.size(); ++k) {
      EXPECT_EQ(a.tables[k].r == b.tables[k].r && a.tables[k].packed == b.tables[k].packed, !held)
          << KeyName(a.keys[k]);
    }
  }
}

TEST(DenseEvidence, HasTheGradientAndCurvatureOfFiniteDifferences) {
  const TextDataset data = SampleText(kVocab, 4000);
  LogLinearSpec spec = WithAll();
  spec.unigram = true;
  spec.histories = {HistoryKind::kFollowers};
  const LogLinearShape shape(spec);
  const auto tables = Load<double>(spec, data, true);
  for (const Counted counted : {Counted::kAsIs, Counted::kLeftOut}) {
    GainObjective objective(shape, tables, data.train, HoldoutRule::For(4000).Targets(4000, 100),
                            counted);
    std::vector<int> bent;
    ExpectDerivatives(objective, shape, 1e-4, 1e-6, &bent);
    EXPECT_GE(
        std::count_if(bent.begin(), bent.end(), [&](int g) { return g >= shape.dense_gains[0]; }),
        5);
  }
}

TEST(DenseEvidence, IsTheSameInWhateverOrderTargetsAreAskedFor) {
  const TextDataset data = SampleText(kVocab, 3000);
  const LogLinearSpec spec = WithAll();
  const LogLinearShape shape(spec);
  const auto tables = Load<float>(spec, data, true);
  for (const Counted counted : {Counted::kAsIs, Counted::kLeftOut}) {
    DenseEvidence<float> alone(shape, tables.dense, data.train, counted),
        at(shape, tables.dense, data.train, counted);
    for (const int64_t t : {0, 1, 2, 500, 515, 516, 517, 500, 2999, 2998, 100}) {
      alone.Load(absl::MakeConstSpan(&t, 1));
      const auto want = alone.RowsOf(0), got = at.At(t);
      ASSERT_EQ(got.size(), want.size());
      for (size_t k = 0; k < want.size(); ++k) {
        EXPECT_EQ(got[k].gain, want[k].gain);
        EXPECT_TRUE(std::equal(got[k].value, got[k].value + kVocab, want[k].value)) << t;
      }
    }
  }
}

std::vector<int64_t> Few() {
  std::vector<int64_t> targets;
  for (int64_t t = 80; t < 500; ++t) targets.push_back(t);
  return targets;
}
double Sum(const std::vector<double>& v) {
  double sum = 0;
  for (const double x : v) sum += x;
  return sum;
}

TEST(DenseEvidence, MakesAModelOfItsOwnWithItsOwnGains) {
  const TextDataset data = SampleText(kVocab, 20000);
  StatisticsCache cache({});
  LogLinearSpec spec = WithAll();
  spec.order = 1;
  spec.dense.bits = 32;
  const auto dense = LogLinearModel::Solve(spec, data, cache);
  spec.dense.streams.clear();
  const auto none = LogLinearModel::Solve(spec, data, cache);
  ASSERT_TRUE(dense.ok() && none.ok()) << dense.status();
  EXPECT_LT(Sum(dense->Nats(data.test, Few())), 0.9 * Sum(none->Nats(data.test, Few())));
  EXPECT_EQ(dense->shape().gains, 4 * kCountClasses + 1);
  EXPECT_EQ(dense->MeanGains().size(), 5u);
  EXPECT_GT(dense->MeanGains().at("c1"), 0.1);
  EXPECT_EQ(dense->parameters(), none->parameters() + 5 * 32 * kVocab + dense->shape().gains);
}

TEST(DenseEvidence, ProbabilitiesSumToOneAndSeeNothingOfWhatFollows) {
  const TextDataset data = SampleText(kVocab, 4000);
  StatisticsCache cache({});
  const auto model = LogLinearModel::Solve(WithAll(), data, cache);
  ASSERT_TRUE(model.ok()) << model.status();
  std::vector<int32_t> stream(data.test.begin(), data.test.begin() + 120);
  const std::vector<int64_t> at = {99};
  double sum = 0;
  const auto before = model->Nats(stream, at);
  for (size_t t = 100; t < stream.size(); ++t) stream[t] = (stream[t] * 5 + 3) % kVocab;
  EXPECT_EQ(model->Nats(stream, at), before);
  for (int32_t i = 0; i < kVocab; ++i) {
    stream[99] = i;
    sum += std::exp(-model->Nats(stream, at)[0]);
  }
  EXPECT_NEAR(sum, 1, 1e-5);
}

TEST(DenseEvidence, ScoresATargetTheSameWhateverIsScoredWithIt) {
  const TextDataset data = SampleText(kVocab, 4000);
  StatisticsCache cache({});
  const auto model = LogLinearModel::Solve(WithAll(), data, cache);
  ASSERT_TRUE(model.ok()) << model.status();
  std::vector<double> single;
  for (const int64_t t : Few()) {
    single.push_back(model->Nats(data.test, absl::MakeConstSpan(&t, 1))[0]);
  }
  EXPECT_EQ(model->Nats(data.test, Few()), single);
}

TEST(DenseEvidence, FindsNoFitOfOtherStreamsInTheCache) {
  const TextDataset data = SampleText(kVocab, 4000);
  StatisticsCache cache({});
  const auto first = LogLinearModel::Solve(WithAll(), data, cache);
  ASSERT_TRUE(first.ok()) << first.status();
  std::vector<LogLinearSpec> others(7, WithAll());
  others[0].dense.bits = 9;
  others[1].dense.radius = 6;
  others[2].dense.alpha = 30;
  others[3].dense.kappa = 2;
  others[4].dense.context = 1;
  others[5].dense.context_lags = 1;
  others[6].dense.streams.pop_back();
  for (const LogLinearSpec& other : others) {
    const auto found = LogLinearModel::Solve(other, data, cache);
    StatisticsCache empty({});
    const auto fresh = LogLinearModel::Solve(other, data, empty);
    ASSERT_TRUE(found.ok() && fresh.ok());
    EXPECT_EQ(found->gains(), fresh->gains());
    EXPECT_NE(found->gains(), first->gains());
  }
}

TEST(DenseEvidence, ThatThereIsNoneOfHasNoSettings) {
  const TextDataset data = SampleText(kVocab, 4000);
  StatisticsCache cache({.dir = testing::TempDir() + "/no_settings"});
  LogLinearSpec none = WithStreams({}), same = none;
  same.dense.bits = 20;
  const auto a = LogLinearModel::Solve(none, data, cache);
  const int64_t misses = cache.counters().misses;
  const auto b = LogLinearModel::Solve(same, data, cache);
  ASSERT_TRUE(a.ok() && b.ok());
  EXPECT_EQ(a->gains(), b->gains());
  EXPECT_EQ(cache.counters().misses, misses);
}

TEST(DenseEvidence, RefusesCodesTooNarrowForTheVocabulary) {
  const TextDataset data = SampleText(kVocab, 4000);
  StatisticsCache cache({});
  LogLinearSpec spec = WithAll();
  spec.dense.bits = 5;
  const auto model = LogLinearModel::Solve(spec, data, cache);
  EXPECT_EQ(model.status().code(), absl::StatusCode::kInvalidArgument) << model.status();
}

}  // namespace
}  // namespace saffron
