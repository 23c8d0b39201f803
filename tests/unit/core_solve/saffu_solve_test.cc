#include "core/solve/saffu_solve.h"

#include <gtest/gtest.h>

#include <cmath>

#include "core/solve/holdout.h"
#include "core/solve/solution_codec.h"
#include "tests/unit/core_solve/naive_saffu.h"
#include "tests/unit/core_solve/text.h"

namespace saffron {
namespace {

SaffuSolution Solve(const SaffuSolveSpec& spec, const TextDataset& data) {
  StatisticsCache cache({});
  auto solution = SolveSaffu(spec, data, cache);
  EXPECT_TRUE(solution.ok()) << solution.status();
  return *std::move(solution);
}

std::vector<Stream> Streams(const std::string& text) { return *ParseStreams(text); }

std::vector<int32_t> Counted(const TextDataset& data) {
  const int64_t tokens = static_cast<int64_t>(data.train.size());
  const HoldoutRule rule = HoldoutRule::For(tokens);
  std::vector<int32_t> counted;
  for (int32_t t = 0; t < tokens; ++t) {
    if (!rule.Holds(t)) counted.push_back(t);
  }
  return counted;
}

// With as many bits as types every code is one-hot.
SaffuSolveSpec OneHotSpec(int vocab, int context, double alpha) {
  return {.bits = vocab,
          .context = context,
          .streams = {Stream::kCipher},
          .attention = false,
          .gains = GainMode::kKnorm,
          .alpha = alpha,
          .kappa = 0,
          .refold = false};
}

TEST(SaffuSolve, OneOneHotKeyHasZeroGradientAsSmoothingVanishes) {
  const TextDataset data = MadeUpText(25, 3000);
  const SaffuSolution solution = Solve(OneHotSpec(25, 1, 1e-9), data);
  // F - X'y^: counted minus predicted next tokens, by key.
  std::vector<Dense> gradient(25, Dense(25));
  double largest = 0;
  for (int32_t t : Counted(data)) {
    const int32_t w = NaiveToken(data.train, data.eod, t - 1);
    const Dense p = NaiveForward(solution.layers, 0, *solution.features, data.train, t).p;
    gradient[w][data.train[t]] += 1;
    for (int i = 0; i < 25; ++i) gradient[w][i] -= p[i];
  }
  for (const Dense& row : gradient) {
    for (double g : row) largest = std::max(largest, std::abs(g));
  }
  EXPECT_LT(largest, 1e-3);
}

TEST(SaffuSolve, KnormOnOneHotKeysIsNaiveBayesByCounting) {
  const TextDataset data = MadeUpText(20, 4000);
  const double alpha = 0.5;
  const SaffuSolution solution = Solve(OneHotSpec(20, 3, alpha), data);
  std::vector<double> p(20, 0.5), total_of_token(60);
  std::vector<Dense> joint(60, Dense(20));  // [lag and context token][next]
  for (int32_t t : Counted(data)) {
    p[data.train[t]] += 1;
    for (int lag = 1; lag <= 3; ++lag) {
      const int row = (lag - 1) * 20 + NaiveToken(data.train, data.eod, t - lag);
      joint[row][data.train[t]] += 1;
      total_of_token[row] += 1;
    }
  }
  double sum = 0;
  for (double v : p) sum += v;
  for (double& v : p) v /= sum;
  for (int32_t t = 500; t < 520; ++t) {
    // p(i) prod_k P(w_k | i) / p(w_k), as p(i) prod_k P_k(i | w_k) / p(i).
    Dense bayes(20);
    double norm = 0;
    for (int i = 0; i < 20; ++i) {
      bayes[i] = p[i];
      for (int lag = 1; lag <= 3; ++lag) {
        const int row = (lag - 1) * 20 + data.train[t - lag];
        bayes[i] *= (joint[row][i] + alpha * p[i]) / (total_of_token[row] + alpha) / p[i];
      }
      norm += bayes[i];
    }
    const Dense got = NaiveForward(solution.layers, 0, *solution.features, data.train, t).p;
    for (int i = 0; i < 20; ++i) EXPECT_NEAR(got[i], bayes[i] / norm, 2e-6);
  }
}

TEST(SaffuSolve, StaticConcatWeightsAreTheSingleLayerFormula) {
  const TextDataset data = MadeUpText(60, 3000);
  const SaffuSolveSpec spec = {.bits = 8,
                               .context = 2,
                               .streams = Streams("x+c"),
                               .attention = false,
                               .alpha = 300,
                               .kappa = 1,
                               .refold = false};
  const SaffuSolution solution = Solve(spec, data);
  const SaffuLayerParams<float>& params = solution.layers[0].params;
  const double g =
      solution.layers[0].gains[0] + solution.layers[0].gains[1] + solution.layers[0].gains[2];
  EXPECT_NEAR(params.gain, g, 1e-5);
  Dense p(60, 0.5);
  double sum = 30;
  for (int32_t t : Counted(data)) p[data.train[t]] += 1, sum += 1;
  for (double& v : p) v /= sum;
  for (int k = 0; k < 3; ++k) {
    EXPECT_NEAR(params.beta[k], std::log(solution.layers[0].gains[k] / g), 1e-5);
    std::vector<Dense> f(8, Dense(60));
    for (int32_t t : Counted(data)) {
      const Dense x =
          NaiveKey(solution.layers, 0, params.shape.keys[k], *solution.features, data.train, t);
      for (int j = 0; j < 8; ++j) f[j][data.train[t]] += x[j];
    }
    for (int j = 0; j < 8; ++j) {
      double total = 0;
      for (double v : f[j]) total += v;
      for (int i = 0; i < 60; ++i) {
        const double m = std::max(f[j][i], total * p[i]);
        const double r = std::log((f[j][i] + 300 * p[i]) / ((total + 300) * p[i])) * m / (m + 1);
        EXPECT_NEAR(params.u[(k * 8 + j) * 60 + i], r + std::log(p[i]) / g, 2e-5);
      }
    }
  }
}

// Every shape: the stored parameters, run through the plain equations, give the hold-out loss that
// the solve says it measured, and every layer input has L1 norm g.
TEST(SaffuSolve, TheLossItReportsIsTheLossOfItsParameters) {
  const TextDataset data = MadeUpText(70, 6000);
  const HoldoutRule rule = HoldoutRule::For(6000);
  const std::vector<int32_t> targets = rule.Targets(6000, kHoldoutTargets);
  std::vector<SaffuSolveSpec> specs;
  for (const char* streams : {"x", "x+c", "x+c+r"}) {
    for (Head head : {Head::kConcat, Head::kSum}) {
      specs.push_back(
          {.bits = 10, .context = 3, .streams = Streams(streams), .radius = 7, .head = head});
    }
  }
  specs.push_back({.bits = 10, .context = 2, .context_lags = 2, .gains = GainMode::kKnorm});
  specs.push_back({.bits = 10, .context = 2, .gains = GainMode::kGeometric});
  specs.push_back({.bits = 10, .context = 2, .features = FeatureKind::kNoisy, .seed = 5});
  specs.push_back(
      {.bits = 10, .context = 2, .streams = Streams("x+c+r"), .features = FeatureKind::kBinary});
  specs.push_back({.bits = 10, .context = 2, .layers = 2, .width = 13});
  for (SaffuSolveSpec& spec : specs) {
    spec.refold = false;  // that is, the parameters that were measured
    SCOPED_TRACE(SolutionKey(spec, data));
    const SaffuSolution solution = Solve(spec, data);
    const SaffuLayerSolution& top = solution.layers.back();
    EXPECT_NEAR(NaiveNats(solution, data.train, targets), top.holdout_nats, 2e-5);
    EXPECT_NEAR(solution.holdout_perplexity, std::exp(top.holdout_nats), 1e-9);
    EXPECT_LE(top.holdout_nats, top.holdout_static_nats);
    EXPECT_LT(top.holdout_nats, std::log(70));
    if (spec.features == FeatureKind::kBinary) {
      EXPECT_EQ(top.params.bias.size(), 70u);
      continue;
    }
    EXPECT_TRUE(top.params.bias.empty());
    for (size_t layer = 0; layer < solution.layers.size(); ++layer) {
      for (int64_t t : {int64_t{0}, int64_t{1}, int64_t{999}}) {
        const NaiveOutput out = NaiveForward(solution.layers, static_cast<int>(layer),
                                             *solution.features, data.train, t);
        EXPECT_NEAR(out.h_norm, solution.layers[layer].params.gain, 1e-4);
      }
    }
  }
}

void ExpectSameLayers(const SaffuSolution& a, const SaffuSolution& b) {
  EXPECT_EQ(EncodeLayers(a.layers), EncodeLayers(b.layers));
  EXPECT_EQ(a.features->cipher.value, b.features->cipher.value);
  EXPECT_TRUE((a.features->context.array() == b.features->context.array()).all());
}

TEST(SaffuSolve, TheSolutionDoesNotDependOnWhatTheCacheHolds) {
  const TextDataset data = MadeUpText(70, 12'000);
  TextDataset longer = MadeUpText(70, 30'000);
  std::copy(data.train.begin(), data.train.end(), longer.train.begin());
  const SaffuSolveSpec spec = {.bits = 10, .context = 2, .streams = Streams("x+c+r")};
  StatisticsCache cold({}), warm({});
  ASSERT_TRUE(SolveSaffu(spec, longer, warm).ok());
  const auto fresh = SolveSaffu(spec, data, cold);
  const auto on_warm = SolveSaffu(spec, data, warm);
  const auto found = SolveSaffu(spec, data, warm);
  const auto afresh = SolveSaffuAfresh(spec, data, warm);
  ASSERT_TRUE(fresh.ok() && on_warm.ok() && found.ok() && afresh.ok());
  EXPECT_TRUE(found->seconds.count("load"));
  EXPECT_FALSE(fresh->seconds.count("load"));
  ExpectSameLayers(*fresh, *on_warm);
  ExpectSameLayers(*fresh, *found);
  ExpectSameLayers(*fresh, *afresh);
}

TEST(SaffuSolve, SpecsThatDifferInTheSolveHaveKeysOfTheirOwn) {
  const TextDataset data = MadeUpText(70, 1000), other = MadeUpText(70, 1000, 2);
  const SaffuSolveSpec spec;
  std::set<std::string> keys = {SolutionKey(spec, data), SolutionKey(spec, other)};
  size_t n = 2;
  const auto differs = [&](auto change) {
    SaffuSolveSpec changed = spec;
    change(changed);
    keys.insert(SolutionKey(changed, data));
    EXPECT_EQ(keys.size(), ++n);
  };
  differs([](SaffuSolveSpec& s) { s.bits = 32; });
  differs([](SaffuSolveSpec& s) { s.context = 5; });
  differs([](SaffuSolveSpec& s) { s.streams = {Stream::kCipher}; });
  differs([](SaffuSolveSpec& s) { s.context_lags = 2; });
  differs([](SaffuSolveSpec& s) { s.radius = 8; });
  differs([](SaffuSolveSpec& s) { s.features = FeatureKind::kBinary; });
  differs([](SaffuSolveSpec& s) { s.features = FeatureKind::kNoisy; });
  differs([](SaffuSolveSpec& s) { s.features = FeatureKind::kNoisy, s.noise = 0.2; });
  differs([](SaffuSolveSpec& s) { s.features = FeatureKind::kNoisy, s.seed = 1; });
  differs([](SaffuSolveSpec& s) { s.head = Head::kSum; });
  differs([](SaffuSolveSpec& s) { s.attention = false; });
  differs([](SaffuSolveSpec& s) { s.layers = 2; });
  differs([](SaffuSolveSpec& s) { s.layers = 2, s.width = 128; });
  differs([](SaffuSolveSpec& s) { s.gains = GainMode::kKnorm; });
  differs([](SaffuSolveSpec& s) { s.alpha = 100; });
  differs([](SaffuSolveSpec& s) { s.kappa = 0; });
  differs([](SaffuSolveSpec& s) { s.refold = false; });
  // What cannot matter does not make another key.
  SaffuSolveSpec same = spec;
  same.seed = 9;
  same.noise = 0.3;
  same.width = 12;
  EXPECT_EQ(SolutionKey(same, data), SolutionKey(spec, data));
}

TEST(SaffuSolve, AStoredSolutionComesBackWholeOrNotAtAll) {
  const TextDataset data = MadeUpText(40, 1500);
  const SaffuSolveSpec spec = {.bits = 7, .context = 2, .layers = 2, .width = 9};
  const SaffuSolution solution = Solve(spec, data);
  const std::vector<char> bytes = EncodeLayers(solution.layers);
  const auto shapes = SaffuShapes(spec, data.vocab);
  const auto decoded = DecodeLayers(bytes, shapes);
  ASSERT_TRUE(decoded.ok());
  EXPECT_EQ(EncodeLayers(*decoded), bytes);
  for (size_t cut : {size_t{0}, size_t{3}, bytes.size() / 2, bytes.size() - 1}) {
    EXPECT_EQ(DecodeLayers(absl::MakeConstSpan(bytes.data(), cut), shapes).status().code(),
              absl::StatusCode::kDataLoss);
  }
  EXPECT_FALSE(DecodeLayers(bytes, SaffuShapes({.bits = 7, .context = 2}, 40)).ok());
}

// Counting every target, as the refolded evidence must.
TEST(SaffuSolve, RefoldingAddsTheHoldoutsCountsAndNothingElse) {
  const TextDataset data = MadeUpText(60, 3000);
  for (const bool attention : {false, true}) {
    SaffuSolveSpec spec = {.bits = 8,
                           .context = 2,
                           .streams = Streams("x+c+r"),
                           .radius = 5,
                           .attention = attention,
                           .alpha = 300};
    const SaffuSolution whole = Solve(spec, data);
    spec.refold = false;
    const SaffuSolution part = Solve(spec, data);
    const SaffuLayerSolution &a = whole.layers[0], &b = part.layers[0];
    EXPECT_EQ(a.gains, b.gains);
    EXPECT_EQ(a.params.w, b.params.w);
    EXPECT_EQ(a.params.beta, b.params.beta);
    EXPECT_EQ(a.holdout_nats, b.holdout_nats);
    EXPECT_EQ(a.recounted, b.recounted);
    EXPECT_NE(a.params.u, b.params.u);
    Dense p(60, 0.5 / 3030);
    for (int32_t y : data.train) p[y] += 1.0 / 3030;
    for (int k = 0; k < 4; ++k) {
      std::vector<Dense> f(8, Dense(60));
      for (int64_t t = 0; t < 3000; ++t) {
        const Dense x =
            NaiveKey(whole.layers, 0, a.params.shape.keys[k], *whole.features, data.train, t);
        double weight = 1;
        if (a.recounted) {
          weight = 4 * NaiveForward(whole.layers, 0, *whole.features, data.train, t).attention[k];
        }
        for (int j = 0; j < 8; ++j) f[j][data.train[t]] += weight * x[j];
      }
      for (int j = 0; j < 8; ++j) {
        double total = 0;
        for (double v : f[j]) total += v;
        for (int i = 0; i < 60; ++i) {
          const double m = std::max(f[j][i], total * p[i]);
          const double r = std::log((f[j][i] + 300 * p[i]) / ((total + 300) * p[i])) * m / (m + 1);
          EXPECT_NEAR(a.params.u[(k * 8 + j) * 60 + i], r + std::log(p[i]) / a.params.gain, 5e-5);
        }
      }
    }
  }
}

// Counts of one key of a layer over all targets, against the tokens themselves or `soft` targets.
std::vector<Dense> NaiveCounts(const SaffuSolution& solution, int layer, int k,
                               const std::vector<int32_t>& s, int outputs, const SparseRows* soft) {
  const KeySpec& key = solution.layers[layer].params.shape.keys[k];
  std::vector<Dense> f(key.dim, Dense(outputs));
  for (size_t t = 0; t < s.size(); ++t) {
    const Dense x = NaiveKey(solution.layers, layer, key, *solution.features, s, t);
    for (int j = 0; j < key.dim; ++j) {
      if (soft == nullptr) {
        f[j][s[t]] += x[j];
        continue;
      }
      for (int e = soft->begin[s[t]]; e < soft->begin[s[t] + 1]; ++e) {
        f[j][soft->index[e]] += x[j] * soft->value[e];
      }
    }
  }
  return f;
}

// log((F + alpha p) / ((F. + alpha) p)) m / (m + 1), kappa being one.
double NaiveEvidence(const Dense& f, const Dense& p, double alpha, int i) {
  double total = 0;
  for (double v : f) total += v;
  const double m = std::max(f[i], total * p[i]);
  return std::log((f[i] + alpha * p[i]) / ((total + alpha) * p[i])) * m / (m + 1);
}

Dense NaivePrior(const std::vector<int32_t>& s, int vocab) {
  Dense p(vocab, 0.5);
  for (int32_t y : s) p[y] += 1;
  for (double& v : p) v /= static_cast<double>(s.size()) + 0.5 * vocab;
  return p;
}

TEST(SaffuSolve, ASumHeadsWeightsAreTheFormulaOverMixedCounts) {
  const TextDataset data = MadeUpText(60, 3000);
  // Geometric gains: all keys count alike, and g is one.
  const SaffuSolution solution = Solve({.bits = 8,
                                        .context = 2,
                                        .head = Head::kSum,
                                        .attention = false,
                                        .gains = GainMode::kGeometric,
                                        .alpha = 300},
                                       data);
  const SaffuLayerParams<float>& params = solution.layers[0].params;
  EXPECT_NEAR(params.gain, 1, 1e-6);
  const Dense p = NaivePrior(data.train, 60);
  std::vector<Dense> mixed(8, Dense(60));
  for (int k = 0; k < 3; ++k) {
    const auto f = NaiveCounts(solution, 0, k, data.train, 60, nullptr);
    for (int j = 0; j < 8; ++j) {
      for (int i = 0; i < 60; ++i) mixed[j][i] += f[j][i] / 3;
    }
  }
  for (int j = 0; j < 8; ++j) {
    for (int i = 0; i < 60; ++i) {
      EXPECT_NEAR(params.u[j * 60 + i], NaiveEvidence(mixed[j], p, 300, i) + std::log(p[i]), 2e-5);
    }
  }
}

TEST(SaffuSolve, KeysOfUnequalNormCompareWithTheirShareOfMassAndHaveABias) {
  const TextDataset data = MadeUpText(60, 3000);
  const SaffuSolution solution = Solve({.bits = 8,
                                        .context = 2,
                                        .streams = Streams("x"),
                                        .features = FeatureKind::kBinary,
                                        .attention = false,
                                        .alpha = 300},
                                       data);
  const SaffuLayerParams<float>& params = solution.layers[0].params;
  const Dense p = NaivePrior(data.train, 60);
  for (int i = 0; i < 60; ++i) EXPECT_NEAR(params.bias[i], std::log(p[i]), 1e-6);
  for (int k = 0; k < 2; ++k) {
    const auto f = NaiveCounts(solution, 0, k, data.train, 60, nullptr);
    // s_i: the mass that comes with output i, and half a mean target's more.
    double mass = 0;
    for (const Dense& row : f) {
      for (double v : row) mass += v;
    }
    Dense share(60, mass / 3000 / 2);
    for (const Dense& row : f) {
      for (int i = 0; i < 60; ++i) share[i] += row[i];
    }
    for (double& v : share) v /= mass * (1 + 60 / 6000.0);
    for (int j = 0; j < 8; ++j) {
      for (int i = 0; i < 60; ++i) {
        EXPECT_NEAR(params.u[(k * 8 + j) * 60 + i], NaiveEvidence(f[j], share, 300, i), 2e-5);
      }
    }
  }
}

TEST(SaffuSolve, StackedWeightsAreTheFormulaOverCodesAndOutputs) {
  const TextDataset data = MadeUpText(60, 1500);
  const SaffuSolution solution = Solve({.bits = 8,
                                        .context = 1,
                                        .streams = Streams("x"),
                                        .attention = false,
                                        .layers = 2,
                                        .width = 9,
                                        .alpha = 300},
                                       data);
  const Dense p = NaivePrior(data.train, 60);
  const SparseRows codes = CipherTargets(60, 9);
  Dense of_code(9);
  for (int y = 0; y < 60; ++y) {
    for (int e = codes.begin[y]; e < codes.begin[y + 1]; ++e) {
      of_code[codes.index[e]] += p[y] * codes.value[e];
    }
  }
  const auto expect = [&](int layer, int k, const SparseRows* soft, const Dense& prior) {
    const SaffuLayerParams<float>& params = solution.layers[layer].params;
    const int outputs = static_cast<int>(prior.size());
    const auto f = NaiveCounts(solution, layer, k, data.train, outputs, soft);
    for (size_t j = 0; j < f.size(); ++j) {
      for (int i = 0; i < outputs; ++i) {
        EXPECT_NEAR(params.u[(params.shape.KeyOffset(k) + j) * outputs + i],
                    NaiveEvidence(f[j], prior, 300, i) + std::log(prior[i]) / params.gain, 5e-5)
            << "layer " << layer << ", key " << k;
      }
    }
  };
  expect(0, 0, &codes, of_code);
  expect(1, 0, nullptr, p);
  expect(1, 1, nullptr, p);  // the output below
}

TEST(SaffuSolve, SmallStreamsStillSolve) {
  for (int64_t tokens : {kSolveTokensMin, int64_t{200}, int64_t{2600}}) {
    const TextDataset data = MadeUpText(30, tokens);
    const SaffuSolution solution = Solve({.bits = 6, .context = 3}, data);
    EXPECT_TRUE(std::isfinite(solution.holdout_perplexity));
    for (float u : solution.layers[0].params.u) ASSERT_TRUE(std::isfinite(u));
  }
}

TEST(SaffuSolve, RefusesSpecsOutOfRangeByTheirRegisteredKey) {
  const TextDataset data = MadeUpText(60, 1000);
  StatisticsCache cache({});
  const auto expect = [&](const SaffuSolveSpec& spec, const std::string& key) {
    const absl::Status status = SolveSaffu(spec, data, cache).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
    EXPECT_EQ(std::string(status.message()).rfind(key + ": want", 0), 0u) << status;
  };
  expect({.bits = 5}, "model.bits");
  expect({.bits = 8, .context = 0}, "model.context");
  expect({.bits = 8, .streams = {Stream::kContext}}, "model.streams");
  expect({.bits = 8, .context_lags = 0}, "model.context_lags");
  expect({.bits = 8, .radius = 0}, "model.radius");
  expect({.bits = 8, .features = FeatureKind::kNoisy, .noise = 1}, "model.noise");
  expect({.bits = 8, .layers = 0}, "model.layers");
  expect({.bits = 8, .layers = 2, .width = 4}, "model.width");
  expect({.bits = 8, .head = Head::kSum, .layers = 2, .width = 9}, "model.width");
  expect({.bits = 8, .alpha = -1}, "solve.alpha");
  expect({.bits = 8, .kappa = NAN}, "solve.kappa");
}

}  // namespace
}  // namespace saffron
