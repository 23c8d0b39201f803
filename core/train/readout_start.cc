#include "core/train/readout_start.h"

#include <Eigen/Cholesky>
#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <optional>
#include <vector>

#include "core/base/check.h"
#include "core/base/status_macros.h"
#include "core/math/matrix.h"
#include "core/solve/unigram.h"

namespace saffron {
namespace {

constexpr int64_t kSampled = 50'000, kHeldOut = 5'000;

// Windows of a training stream, by number: evenly spaced ones whose tokens are counted, and others.
struct Windows {
  std::vector<int64_t> counted, held_out;

  // A tenth of a short stream is held out. One window is both.
  Windows(int64_t tokens, int64_t length) {
    const int64_t all = std::max<int64_t>(1, (tokens - 1) / length);
    held_out = Spread(all, std::min(kHeldOut, tokens / 10) / length, 0.5);
    for (const int64_t window : Spread(all, kSampled / length, 0)) {
      const bool is_held = std::binary_search(held_out.begin(), held_out.end(), window);
      if (!is_held || all == 1) counted.push_back(window);
    }
  }

 private:
  // `offset` in [0, 1): where in its stretch of the stream each window lies.
  static std::vector<int64_t> Spread(int64_t all, int64_t most, double offset) {
    const int64_t size = std::clamp<int64_t>(most, 1, all);
    std::vector<int64_t> windows;
    for (int64_t w = 0; w < size; ++w) {
      const auto at = static_cast<int64_t>((static_cast<double>(w) + offset) *
                                           static_cast<double>(all) / static_cast<double>(size));
      windows.push_back(std::min(at, all - 1));
    }
    return windows;
  }
};

struct Sample {
  std::vector<int32_t> inputs, targets;
  Sample(const TextDataset& data, int64_t length, const std::vector<int64_t>& windows) {
    for (const int64_t window : windows) {
      for (int64_t t = window * length; t < (window + 1) * length; ++t) {
        inputs.push_back(data.train[t]);
        targets.push_back(data.train[t + 1]);
      }
    }
  }
};

// Sums over the hidden states of samples: they add up.
struct HiddenSums {
  const int64_t length;                  // of windows
  Matrix<double> of_target;              // [vocab, h] those that come before each type
  Vector<double> targets;                // [vocab] how many
  Eigen::RowVectorXd low;                // [h] the least of each element
  std::optional<Matrix<double>> square;  // [h, h] H'H, where it is wanted
  int64_t size = 0;

  HiddenSums(const TransformerNetwork<float>& network, int64_t length, bool with_square)
      : length(length) {
    const int64_t h = network.shape().width, vocab = network.shape().vocab;
    CHECK(network.layout().readout >= 0) << "a tied readout cannot be solved apart";
    of_target.setZero(vocab, h);
    targets.setZero(vocab);
    low.setConstant(h, std::numeric_limits<double>::infinity());
    if (with_square) square = Matrix<double>::Zero(h, h);
  }

  void Add(const Sample& sample, TransformerNetwork<float>& network) {
    const auto more = std::ssize(sample.inputs);
    Matrix<float> hidden(more, low.size());
    network.Hidden(sample.inputs, length, absl::MakeSpan(hidden.data(), hidden.size()));
    constexpr int64_t kStretch = 1024;
    for (int64_t begin = 0; begin < more; begin += kStretch) {
      const Matrix<double> rows =
          hidden.middleRows(begin, std::min(kStretch, more - begin)).cast<double>();
      low = low.cwiseMin(rows.colwise().minCoeff());
      if (square.has_value()) square->noalias() += rows.transpose() * rows;
      for (int64_t r = 0; r < rows.rows(); ++r) {
        const int32_t target = sample.targets[begin + r];
        of_target.row(target) += rows.row(r);
        targets[target] += 1;
      }
    }
    size += more;
  }
};

}  // namespace

double BestGain(const std::function<double(double)>& loss) {
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
  }
  if (best > 0 && best <= 1) {
    gain = best;
    while (gain > kLeast && improves(gain /= 2)) {
    }
  }
  const double around = best;
  for (const double factor : {std::sqrt(2.0), std::sqrt(0.5)}) {
    if (around > 0 && improves(around * factor)) break;
  }
  return best;
}

absl::StatusOr<double> SolveRidgeReadout(const TextDataset& data, int64_t length,
                                         TransformerNetwork<float>& network) {
  constexpr double kRidge = 0.01;  // of the mean squared hidden state, times the sample's size
  const int64_t h = network.shape().width, vocab = network.shape().vocab;
  const Windows windows(std::ssize(data.train), length);
  const Sample held_out(data, length, windows.held_out);
  const std::vector<double> prior = UnigramModel::Fit(data.train, data.vocab).log_p;
  HiddenSums sums(network, length, /*with_square=*/true);
  Eigen::RowVectorXd mean;
  Eigen::MatrixXd w;  // [h, vocab]
  const auto solve = [&]() -> absl::Status {
    const double n = static_cast<double>(sums.size);
    mean = sums.of_target.colwise().sum() / n;
    Matrix<double> square = *sums.square - n * mean.transpose() * mean;
    // Where all hidden states are the same, what is left of the square is rounding.
    square.diagonal().array() +=
        kRidge * square.trace() / static_cast<double>(h) + 1e-12 * (1 + sums.square->trace());
    const Eigen::LLT<Eigen::MatrixXd> factored(square);
    if (factored.info() != Eigen::Success) {
      return absl::FailedPreconditionError("solve.readout: the hidden states' square is singular");
    }
    // H'Y of centred H; Y's columns need no centring then.
    w = factored.solve((sums.of_target - sums.targets * mean).transpose());
    return absl::OkStatus();
  };
  const absl::Span<float> readout = network.tensor(network.layout().readout);
  const absl::Span<float> bias = network.tensor(network.layout().readout_bias);
  const auto set = [&](double gain) {
    for (int64_t y = 0; y < vocab; ++y) {
      // A type with few occurrences in the sample has little to say: one token stands for the
      // prior.
      const double weight = gain / (std::exp(prior[y]) + 1.0 / static_cast<double>(sums.size));
      for (int64_t i = 0; i < h; ++i) {
        readout[i * vocab + y] = static_cast<float>(weight * w(i, y));
      }
      bias[y] = static_cast<float>(prior[y] - weight * mean.dot(w.col(y)));
    }
  };
  sums.Add(Sample(data, length, windows.counted), network);
  RETURN_IF_ERROR(solve());
  double best = 0, least = std::numeric_limits<double>::infinity();
  for (const double gain : {0.0, 0.03, 0.1, 0.2, 0.3, 0.5, 0.7, 1.0}) {
    set(gain);
    const double nats = network.Evaluate(held_out.inputs, held_out.targets, length).nats;
    if (nats < least) {
      least = nats;
      best = gain;
    }
  }
  sums.Add(held_out, network);
  RETURN_IF_ERROR(solve());
  set(best);
  return best;
}

double SolveCountedReadout(const TextDataset& data, int64_t length,
                           TransformerNetwork<float>& network) {
  constexpr double kAlpha = 300, kKappa = 1;
  const int64_t h = network.shape().width, vocab = network.shape().vocab;
  const Windows windows(std::ssize(data.train), length);
  const Sample held_out(data, length, windows.held_out);
  const std::vector<double> prior = UnigramModel::Fit(data.train, data.vocab).log_p;
  HiddenSums sums(network, length, /*with_square=*/false);
  Matrix<double> evidence;  // [vocab, h]
  double scale = 0;
  const auto solve = [&] {
    evidence = sums.of_target - sums.targets * sums.low;  // F, a row for each target
    // Where all hidden states are the same, nothing has mass and all is left to the prior.
    const double total = evidence.sum();
    scale = total > 0 ? static_cast<double>(sums.size) / total : 0;
    evidence *= scale;
    const Eigen::RowVectorXd of_feature = evidence.colwise().sum();
    for (int64_t y = 0; y < vocab; ++y) {
      const double p = std::exp(prior[y]);
      for (int64_t j = 0; j < h; ++j) {
        const double f = evidence(y, j), expected = of_feature[j] * p, m = std::max(f, expected);
        evidence(y, j) = std::log((f + kAlpha * p) / (expected + kAlpha * p)) * m / (m + kKappa);
      }
    }
  };
  const absl::Span<float> readout = network.tensor(network.layout().readout);
  const absl::Span<float> bias = network.tensor(network.layout().readout_bias);
  const auto set = [&](double gain) {
    for (int64_t y = 0; y < vocab; ++y) {
      for (int64_t j = 0; j < h; ++j) {
        readout[j * vocab + y] = static_cast<float>(gain * scale * evidence(y, j));
      }
      bias[y] = static_cast<float>(prior[y] - gain * scale * sums.low.dot(evidence.row(y)));
    }
  };
  sums.Add(Sample(data, length, windows.counted), network);
  solve();
  const double best = BestGain([&](double gain) {
    set(gain);
    return network.Evaluate(held_out.inputs, held_out.targets, length).nats;
  });
  sums.Add(held_out, network);
  solve();
  set(best);
  return best;
}

}  // namespace saffron
