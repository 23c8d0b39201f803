#include "core/solve/features.h"

#include <gtest/gtest.h>

#include "tests/unit/core_solve/text.h"

namespace saffron {
namespace {

std::vector<double> DenseRow(const SparseRows& rows, int w) {
  std::vector<double> row(rows.dim);
  for (int e = rows.begin[w]; e < rows.begin[w + 1]; ++e) row[rows.index[e]] = rows.value[e];
  return row;
}

TEST(Features, EveryKindKeepsTheOnesOfTheCode) {
  const auto l1 = CipherFeatures(100, 8, FeatureKind::kL1, 0, 0);
  const auto binary = CipherFeatures(100, 8, FeatureKind::kBinary, 0, 0);
  const auto noisy = CipherFeatures(100, 8, FeatureKind::kNoisy, 0.25, 7);
  ASSERT_TRUE(l1.ok() && binary.ok() && noisy.ok());
  for (int w = 0; w < 100; ++w) {
    const auto a = DenseRow(*l1, w), b = DenseRow(*binary, w), n = DenseRow(*noisy, w);
    double a_norm = 0, n_norm = 0;
    for (int j = 0; j < 8; ++j) {
      a_norm += a[j];
      n_norm += n[j];
      EXPECT_EQ(b[j], a[j] > 0 ? 1 : 0);
      EXPECT_GT(n[j], 0);
      if (a[j] > 0) {
        EXPECT_NEAR(n[j], 0.75 * a[j], 1e-6);
      }
    }
    EXPECT_NEAR(a_norm, 1, 1e-6);
    EXPECT_NEAR(n_norm, 1, 1e-6);
  }
}

TEST(Features, NoiseDependsOnTheSeedAndTheCellAlone) {
  const auto a = CipherFeatures(100, 8, FeatureKind::kNoisy, 0.25, 7);
  const auto again = CipherFeatures(100, 8, FeatureKind::kNoisy, 0.25, 7);
  const auto fewer = CipherFeatures(50, 8, FeatureKind::kNoisy, 0.25, 7);
  const auto other = CipherFeatures(100, 8, FeatureKind::kNoisy, 0.25, 8);
  EXPECT_EQ(a->value, again->value);
  EXPECT_EQ(DenseRow(*a, 30), DenseRow(*fewer, 30));
  EXPECT_NE(DenseRow(*a, 30), DenseRow(*other, 30));
}

TEST(Features, ContextVectorsAreWhatFollowsMixedWithTheMeanCode) {
  const TextDataset data = MadeUpText(60, 2000);
  SaffuSolveSpec spec = {.bits = 8};
  StatisticsCache cache({});
  const auto tables = BuildFeatures(spec, data, cache);
  ASSERT_TRUE(tables.ok()) << tables.status();
  const HoldoutRule rule = HoldoutRule::For(2000);
  for (int w : {0, 1, 17, 59}) {
    std::vector<double> want(8);
    double norm = 0;
    const auto add = [&](int y, double times) {
      const auto row = DenseRow((*tables)->cipher, y);
      for (int j = 0; j < 8; ++j) want[j] += times * row[j], norm += times * row[j];
    };
    for (int y = 0; y < 60; ++y) add(y, 1.0 / 60);
    for (int t = 0; t < 2000; ++t) {
      const int before = t > 0 ? data.train[t - 1] : data.eod;
      if (before == w && !rule.Holds(t)) add(data.train[t], 1);
    }
    for (int j = 0; j < 8; ++j) EXPECT_NEAR((*tables)->context(w, j), want[j] / norm, 1e-6);
  }
}

TEST(Features, TablesHoldWhatTheStreamsAskFor) {
  const TextDataset data = MadeUpText(60, 2000);
  StatisticsCache cache({});
  const auto x = BuildFeatures({.bits = 8, .streams = {Stream::kCipher}}, data, cache);
  EXPECT_EQ((*x)->context.size(), 0);
  EXPECT_EQ((*x)->radius, 0);
  EXPECT_EQ((*x)->padding, data.eod);
  const auto xr = BuildFeatures(
      {.bits = 8, .streams = {Stream::kCipher, Stream::kBag}, .radius = 5}, data, cache);
  EXPECT_EQ((*xr)->radius, 5);
  EXPECT_EQ(BuildFeatures({.bits = 5}, data, cache).status().code(),
            absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(BuildFeatures({.bits = 8}, MadeUpText(60, 40), cache).status().code(),
            absl::StatusCode::kInvalidArgument);
}

TEST(Shapes, LayersStackOnOKeysForEveryLagOfX) {
  const SaffuSolveSpec spec = {.bits = 8, .context = 2, .layers = 2, .width = 12};
  const auto shapes = SaffuShapes(spec, 60);
  ASSERT_EQ(shapes.size(), 2u);
  std::string names;
  for (const KeySpec& key : shapes[1].keys) names += KeyName(key) + " ";
  EXPECT_EQ(names, "x1 x2 c1 o1 o2 ");
  EXPECT_EQ(shapes[0].num_keys(), 3);
  EXPECT_EQ(shapes[0].outputs, 12);
  EXPECT_EQ(shapes[1].outputs, 60);
  EXPECT_EQ(shapes[1].InputDim(), 3 * 8 + 2 * 12);
}

TEST(Shapes, StreamsAreReadByName) {
  EXPECT_EQ(*ParseStreams("x+c+r"),
            (std::vector<Stream>{Stream::kCipher, Stream::kContext, Stream::kBag}));
  EXPECT_FALSE(ParseStreams("c+x").ok());
}

}  // namespace
}  // namespace saffron
