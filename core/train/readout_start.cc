#include "core/train/readout_start.h"

#include <Eigen/Cholesky>
#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "core/base/check.h"
#include "core/math/matrix.h"
#include "core/solve/unigram.h"

namespace saffron {
namespace {

constexpr int64_t kSampled = 50'000, kHeldOut = 5'000;

// Evenly spaced windows of the training stream.
struct Sample {
  std::vector<int32_t> inputs, targets;
  // `offset` in [0, 1): where in its stretch of the stream each window lies.
  Sample(const TextDataset& data, int64_t length, int64_t tokens, double offset) {
    const auto size = static_cast<int64_t>(data.train.size());
    const int64_t all = std::max<int64_t>(1, (size - 1) / length);
    const int64_t windows = std::clamp<int64_t>(tokens / length, 1, all);
    for (int64_t w = 0; w < windows; ++w) {
      const auto at = static_cast<int64_t>((static_cast<double>(w) + offset) *
                                           static_cast<double>(all) / static_cast<double>(windows));
      const int64_t begin = std::min(at, all - 1) * length;
      for (int64_t t = begin; t < begin + length; ++t) {
        inputs.push_back(data.train[t]);
        targets.push_back(data.train[t + 1]);
      }
    }
  }
};

struct HiddenSample {
  Sample tokens, held_out;
  Matrix<float> hidden;       // of tokens.inputs
  std::vector<double> log_p;  // of every type, in the whole stream

  HiddenSample(const TextDataset& data, int64_t length, TransformerNetwork<float>& network)
      : tokens(data, length, kSampled, 0),
        held_out(data, length, kHeldOut, 0.5),
        hidden(tokens.inputs.size(), network.shape().width),
        log_p(UnigramModel::Fit(data.train, data.vocab).log_p) {
    CHECK(network.layout().readout >= 0) << "a tied readout cannot be solved apart";
    network.Hidden(tokens.inputs, length, absl::MakeSpan(hidden.data(), hidden.size()));
  }
  int64_t size() const { return hidden.rows(); }
};

// The gain of least loss(gain), a convex function: within a factor of the square root of 2, or 0.
template <typename Loss>
double BestGain(Loss loss) {
  constexpr double kMost = 1 << 20, kLeast = 1.0 / 128;
  double best = 0, least = loss(0.0);
  const auto improves = [&](double gain) {
    const double nats = loss(gain);
    if (!(nats < least)) return false;
    least = nats;
    best = gain;
    return true;
  };
  double gain = 1;
  if (improves(gain)) {
    while (gain < kMost && improves(gain *= 2)) {
    }
  } else {
    while (gain > kLeast && !improves(gain /= 2)) {
    }
    while (gain > kLeast && improves(gain /= 2)) {
    }
  }
  const double around = best;
  for (const double factor : {std::sqrt(2.0), std::sqrt(0.5)}) {
    if (around > 0 && improves(around * factor)) break;
  }
  return best;
}

}  // namespace

absl::StatusOr<double> SolveRidgeReadout(const TextDataset& data, int64_t length,
                                         TransformerNetwork<float>& network) {
  constexpr double kRidge = 0.01;  // of the mean squared hidden state, times the sample's size
  const int64_t h = network.shape().width, vocab = network.shape().vocab;
  const HiddenSample sample(data, length, network);
  const int64_t n = sample.size();
  const Eigen::RowVectorXd mean = sample.hidden.cast<double>().colwise().mean();

  // H'H and H'Y of centred H; Y's columns need no centring then.
  Matrix<double> square = Matrix<double>::Zero(h, h), cross = Matrix<double>::Zero(vocab, h);
  constexpr int64_t kStretch = 1024;
  for (int64_t begin = 0; begin < n; begin += kStretch) {
    const int64_t count = std::min(kStretch, n - begin);
    const Matrix<double> rows =
        sample.hidden.middleRows(begin, count).cast<double>().rowwise() - mean;
    square.noalias() += rows.transpose() * rows;
    for (int64_t r = 0; r < count; ++r) cross.row(sample.tokens.targets[begin + r]) += rows.row(r);
  }
  square.diagonal().array() += kRidge * square.trace() / static_cast<double>(h) + 1e-12;
  const Eigen::LLT<Eigen::MatrixXd> factored(square);
  if (factored.info() != Eigen::Success) {
    return absl::FailedPreconditionError("solve.readout: the hidden states' square is singular");
  }
  const Eigen::MatrixXd w = factored.solve(cross.transpose());  // [h, vocab]
  const std::vector<double>& prior = sample.log_p;
  const absl::Span<float> readout = network.tensor(network.layout().readout);
  const absl::Span<float> bias = network.tensor(network.layout().readout_bias);
  const auto set = [&](double gain) {
    for (int64_t y = 0; y < vocab; ++y) {
      // A type with few occurrences in the sample has little to say: one token stands for the
      // prior.
      const double weight = gain / (std::exp(prior[y]) + 1.0 / static_cast<double>(n));
      for (int64_t i = 0; i < h; ++i) {
        readout[i * vocab + y] = static_cast<float>(weight * w(i, y));
      }
      bias[y] = static_cast<float>(prior[y] - weight * mean.dot(w.col(y)));
    }
  };
  double best = 0, least = std::numeric_limits<double>::infinity();
  for (const double gain : {0.0, 0.03, 0.1, 0.2, 0.3, 0.5, 0.7, 1.0}) {
    set(gain);
    const double nats =
        network.Evaluate(sample.held_out.inputs, sample.held_out.targets, length).nats;
    if (nats < least) {
      least = nats;
      best = gain;
    }
  }
  set(best);
  return best;
}

double SolveCountedReadout(const TextDataset& data, int64_t length,
                           TransformerNetwork<float>& network) {
  constexpr double kAlpha = 300, kKappa = 1;
  const HiddenSample sample(data, length, network);
  const int64_t h = network.shape().width, vocab = network.shape().vocab, n = sample.size();
  const Eigen::RowVectorXd low = sample.hidden.colwise().minCoeff().cast<double>();
  Matrix<double> mass = Matrix<double>::Zero(vocab, h);  // F, a row for each target
  for (int64_t r = 0; r < n; ++r) {
    mass.row(sample.tokens.targets[r]) += sample.hidden.row(r).cast<double>() - low;
  }
  // Where all hidden states are the same, nothing has mass and all is left to the prior.
  const double total = mass.sum(), scale = total > 0 ? static_cast<double>(n) / total : 0;
  mass *= scale;
  const Eigen::RowVectorXd of_feature = mass.colwise().sum();
  Matrix<double>& evidence = mass;
  for (int64_t y = 0; y < vocab; ++y) {
    const double p = std::exp(sample.log_p[y]);
    for (int64_t j = 0; j < h; ++j) {
      const double f = mass(y, j), expected = of_feature[j] * p, m = std::max(f, expected);
      evidence(y, j) = std::log((f + kAlpha * p) / (expected + kAlpha * p)) * m / (m + kKappa);
    }
  }
  const absl::Span<float> readout = network.tensor(network.layout().readout);
  const absl::Span<float> bias = network.tensor(network.layout().readout_bias);
  const auto set = [&](double gain) {
    for (int64_t y = 0; y < vocab; ++y) {
      for (int64_t j = 0; j < h; ++j) {
        readout[j * vocab + y] = static_cast<float>(gain * scale * evidence(y, j));
      }
      bias[y] = static_cast<float>(sample.log_p[y] - gain * scale * low.dot(evidence.row(y)));
    }
  };
  const double best = BestGain([&](double gain) {
    set(gain);
    return network.Evaluate(sample.held_out.inputs, sample.held_out.targets, length).nats;
  });
  set(best);
  return best;
}

}  // namespace saffron
