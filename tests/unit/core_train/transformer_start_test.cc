// What an explicit start writes into a transformer, against the same computed directly.

#include "core/train/transformer_start.h"

#include <gtest/gtest.h>

#include <Eigen/LU>
#include <cmath>
#include <memory>
#include <vector>

#include "core/base/random.h"
#include "core/solve/bit_cipher.h"
#include "core/solve/holdout.h"
#include "core/solve/unigram.h"
#include "core/train/readout_start.h"
#include "core/transformer/transformer_init.h"

namespace saffron {
namespace {

constexpr int kVocab = 30, kWidth = 8, kLength = 16, kTokens = 2001;

// Every token mostly says which is next; frequent ones come first.
TextDataset Text() {
  TextDataset data;
  data.stream_key = "made up";
  data.vocab = kVocab;
  data.eod = 3;
  const CounterRandom random(1, RandomPurpose::kTest);
  int token = 0;
  for (int i = 0; i < kTokens; ++i) {
    const double u = random.Uniform(2 * i);
    token = u < 0.6 ? (7 * token + 3) % kVocab
                    : static_cast<int>(kVocab * std::pow(random.Uniform(2 * i + 1), 2));
    data.train.push_back(token);
  }
  return data;
}

std::unique_ptr<TransformerNetwork<float>> Network() {
  TransformerShape shape;
  shape.vocab = kVocab;
  shape.width = kWidth;
  shape.context = kLength;
  shape.tied = false;
  shape.readout_bias = true;
  shape.positions = PositionKind::kLearned;
  shape.layers = {{.heads = 2, .kv_heads = 2, .key_dim = 4, .value_dim = 4, .mlp_width = 16}};
  auto network = *TransformerNetwork<float>::Create(shape, {.train = false});
  const std::vector<double> drawn = DrawTransformer(shape, 5);
  std::copy(drawn.begin(), drawn.end(), network->arena().parameters().begin());
  return network;
}

using Table = std::vector<std::vector<double>>;

// The mean of every column is 0 and its deviation 1; then every row has the length of a drawn one.
Table Standardised(Table rows) {
  for (int j = 0; j < kWidth; ++j) {
    double sum = 0, squares = 0;
    for (const auto& row : rows) sum += row[j];
    for (auto& row : rows) row[j] -= sum / kVocab;
    for (const auto& row : rows) squares += row[j] * row[j];
    for (auto& row : rows) row[j] /= std::sqrt(squares / kVocab);
  }
  for (auto& row : rows) {
    double squares = 0;
    for (const double x : row) squares += x * x;
    for (double& x : row) x *= 0.02 * std::sqrt(double{kWidth}) / std::sqrt(squares);
  }
  return rows;
}

void ExpectEmbedding(const std::string& kind, const Table& features) {
  auto network = Network();
  StatisticsCache cache({.dir = ""});
  const TextDataset data = Text();
  ASSERT_TRUE(EmbedFeatures(kind, data, cache, *network).ok());
  const absl::Span<const float> embed = network->tensor(network->layout().tok_embed);
  const Table want = Standardised(features);
  for (int w = 0; w < kVocab; ++w) {
    for (int j = 0; j < kWidth; ++j) EXPECT_NEAR(embed[w * kWidth + j], want[w][j], 1e-6) << w;
  }
}

Table Codes() {
  const auto codes = *BitCipherCodes(kVocab, kWidth);
  Table rows(kVocab, std::vector<double>(kWidth));
  for (int w = 0; w < kVocab; ++w) {
    for (const int bit : codes[w]) rows[w][bit] = 1.0 / static_cast<double>(codes[w].size());
  }
  return rows;
}

TEST(TransformerStart, ACipherEmbeddingIsTheCodesStandardised) {
  ExpectEmbedding("cipher", Codes());
}

TEST(TransformerStart, AContextEmbeddingIsTheMeanCodesOfWhatFollowsStandardised) {
  const TextDataset data = Text();
  const Table codes = Codes();
  const HoldoutRule rule = HoldoutRule::For(kTokens);
  Table rows(kVocab, std::vector<double>(kWidth));
  for (auto& row : rows) {
    for (const auto& code : codes) {
      for (int j = 0; j < kWidth; ++j) row[j] += code[j] / kVocab;
    }
  }
  for (int t = 0; t < kTokens; ++t) {
    if (rule.Holds(t)) continue;
    auto& row = rows[t > 0 ? data.train[t - 1] : data.eod];
    for (int j = 0; j < kWidth; ++j) row[j] += codes[data.train[t]][j];
  }
  for (auto& row : rows) {
    double sum = 0;
    for (const double x : row) sum += x;
    for (double& x : row) x /= sum;
  }
  ExpectEmbedding("context", rows);
}

TEST(TransformerStart, ARidgeReadoutIsTheRegressionOnAllWindowsOfAShortText) {
  const TextDataset data = Text();
  auto network = Network();
  const int n = (kTokens - 1) / kLength * kLength;
  std::vector<float> hidden(n * kWidth);
  const std::vector<int32_t> inputs(data.train.begin(), data.train.begin() + n);
  network->Hidden(inputs, kLength, absl::MakeSpan(hidden));
  const auto gain = SolveRidgeReadout(data, kLength, *network);
  ASSERT_TRUE(gain.ok()) << gain.status();
  ASSERT_GT(*gain, 0);

  Eigen::MatrixXd h = Eigen::Map<Matrix<float>>(hidden.data(), n, kWidth).cast<double>();
  const Eigen::RowVectorXd mean = h.colwise().mean();
  h.rowwise() -= mean;
  Eigen::MatrixXd y = Eigen::MatrixXd::Zero(n, kVocab);
  for (int t = 0; t < n; ++t) y(t, data.train[t + 1]) = 1;
  Eigen::MatrixXd square = h.transpose() * h;
  square += 0.01 * square.trace() / kWidth * Eigen::MatrixXd::Identity(kWidth, kWidth);
  const Eigen::MatrixXd w = square.inverse() * h.transpose() * y;
  const std::vector<double> log_p = UnigramModel::Fit(data.train, kVocab).log_p;
  const absl::Span<const float> readout = network->tensor(network->layout().readout);
  const absl::Span<const float> bias = network->tensor(network->layout().readout_bias);
  for (int i = 0; i < kVocab; ++i) {
    const double weight = *gain / (std::exp(log_p[i]) + 1.0 / n);
    for (int j = 0; j < kWidth; ++j) {
      EXPECT_NEAR(readout[j * kVocab + i], weight * w(j, i), 1e-4) << i;
    }
    EXPECT_NEAR(bias[i], log_p[i] - weight * mean.dot(w.col(i)), 1e-4) << i;
  }
}

// By the windows that it was made from itself, such a readout would have a gain of 0.7 to 1.
TEST(TransformerStart, ARidgeReadoutHasLittleToSayOfTextWithoutRhyme) {
  TextDataset data = Text();
  data.train.resize(600);
  for (uint64_t seed = 1; seed <= 5; ++seed) {
    const CounterRandom random(seed, RandomPurpose::kTest);
    for (size_t t = 0; t < data.train.size(); ++t) {
      data.train[t] = static_cast<int32_t>(kVocab * random.Uniform(t));
    }
    auto network = Network();
    const auto gain = SolveRidgeReadout(data, kLength, *network);
    ASSERT_TRUE(gain.ok()) << gain.status();
    EXPECT_LT(*gain, 0.4) << seed;
  }
}

TEST(TransformerStart, HiddenStatesThatAreAllTheSameSayNothing) {
  const TextDataset data = Text();
  for (const bool ridge : {false, true}) {
    auto network = Network();
    absl::Span<float> parameters = network->arena().parameters();
    std::fill(parameters.begin(), parameters.end(), 0.3f);
    if (ridge) {
      const auto gain = SolveRidgeReadout(data, kLength, *network);
      ASSERT_TRUE(gain.ok()) << gain.status();
    } else {
      SolveCountedReadout(data, kLength, *network);
    }
    for (const float weight : network->tensor(network->layout().readout)) {
      EXPECT_NEAR(weight, 0, 1e-5);
    }
  }
}

TEST(TransformerStart, ACountedReadoutIsTheFormulaOfPositiveFeatures) {
  const TextDataset data = Text();
  auto network = Network();
  // The sample is all windows: there are fewer tokens than it may have.
  const int n = (kTokens - 1) / kLength * kLength;
  std::vector<float> hidden(n * kWidth);
  const std::vector<int32_t> inputs(data.train.begin(), data.train.begin() + n);
  network->Hidden(inputs, kLength, absl::MakeSpan(hidden));
  const double gain = SolveCountedReadout(data, kLength, *network);
  ASSERT_GT(gain, 0);

  const std::vector<double> log_p = UnigramModel::Fit(data.train, kVocab).log_p;
  std::vector<double> low(kWidth, 1e9);
  double total = 0;
  for (int i = 0; i < n * kWidth; ++i) {
    low[i % kWidth] = std::min<double>(low[i % kWidth], hidden[i]);
  }
  for (int i = 0; i < n * kWidth; ++i) total += hidden[i] - low[i % kWidth];
  const double scale = n / total;
  const absl::Span<const float> readout = network->tensor(network->layout().readout);
  const absl::Span<const float> bias = network->tensor(network->layout().readout_bias);
  for (int y = 0; y < kVocab; ++y) {
    const double p = std::exp(log_p[y]);
    double shift = log_p[y];
    for (int j = 0; j < kWidth; ++j) {
      double f = 0, of_feature = 0;
      for (int t = 0; t < n; ++t) {
        const double x = scale * (hidden[t * kWidth + j] - low[j]);
        of_feature += x;
        if (data.train[t + 1] == y) f += x;
      }
      const double m = std::max(f, of_feature * p);
      const double r = std::log((f + 300 * p) / ((of_feature + 300) * p)) * m / (m + 1);
      const double want = gain * scale * r;
      EXPECT_NEAR(readout[j * kVocab + y], want, 1e-4 * std::abs(want) + 1e-6) << y;
      shift -= want * low[j];
    }
    EXPECT_NEAR(bias[y], shift, 1e-4 * std::abs(shift)) << y;
  }
}

TEST(TransformerStart, TheCountedReadoutsGainIsTheBestAround) {
  const TextDataset data = Text();
  auto network = Network();
  const double gain = SolveCountedReadout(data, kLength, *network);
  ASSERT_GT(gain, 0);
  const absl::Span<float> readout = network->tensor(network->layout().readout);
  const absl::Span<float> bias = network->tensor(network->layout().readout_bias);
  const std::vector<float> solved(readout.begin(), readout.end()),
      solved_bias(bias.begin(), bias.end());
  const std::vector<double> log_p = UnigramModel::Fit(data.train, kVocab).log_p;
  const int n = (kTokens - 1) / kLength * kLength;
  const std::vector<int32_t> inputs(data.train.begin(), data.train.begin() + n),
      targets(data.train.begin() + 1, data.train.begin() + n + 1);
  const auto nats = [&](double times) {
    for (size_t i = 0; i < solved.size(); ++i) readout[i] = static_cast<float>(times * solved[i]);
    for (int y = 0; y < kVocab; ++y) {
      bias[y] = static_cast<float>(log_p[y] + times * (solved_bias[y] - log_p[y]));
    }
    return network->Evaluate(inputs, targets, kLength).nats / n;
  };
  EXPECT_LT(nats(1), nats(0) - 0.02);
  EXPECT_LT(nats(1), nats(2));
  EXPECT_LT(nats(1), nats(0.5));
}

TEST(TransformerStart, TheBestGainIsWithinAFactorOfTheMinimum) {
  for (const double minimum : {0.02, 0.3, 0.5, 0.55, 0.8, 1.0, 1.3, 5.0, 700.0}) {
    const double gain = BestGain([&](double g) { return (g - minimum) * (g - minimum); });
    EXPECT_LE(gain, minimum * 1.4143) << minimum;
    EXPECT_GE(gain, minimum / 1.4143) << minimum;
  }
  // Steep below its minimum and flat above: 1 is better than 0, 2 is not.
  const auto lopsided = [](double g) { return g < 0.1 ? 10 * (0.1 - g) : 0.5 * (g - 0.1); };
  EXPECT_NEAR(BestGain(lopsided), 0.1, 0.05);
  EXPECT_EQ(BestGain([](double g) { return g; }), 0);
  EXPECT_EQ(BestGain([](double g) { return g > 0 ? std::nan("") : 1.0; }), 0);
}

}  // namespace
}  // namespace saffron
