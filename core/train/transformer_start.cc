#include "core/train/transformer_start.h"

#include <Eigen/Cholesky>
#include <algorithm>
#include <cmath>
#include <limits>
#include <memory>
#include <vector>

#include "core/base/check.h"
#include "core/base/status_macros.h"
#include "core/math/matrix.h"
#include "core/solve/features.h"
#include "core/solve/unigram.h"

namespace saffron {
namespace {

// Of a drawn embedding's entries (transformer_init.h).
constexpr double kDeviation = 0.02;

// Columns centred and of deviation 1 (constant ones 0), then rows of the length that `deviation`
// gives.
void Standardise(double deviation, Matrix<double>& rows) {
  for (int64_t j = 0; j < rows.cols(); ++j) {
    auto column = rows.col(j);
    column.array() -= column.mean();
    const double spread = std::sqrt(column.squaredNorm() / static_cast<double>(rows.rows()));
    if (spread > 0) column /= spread;
  }
  const double length = deviation * std::sqrt(static_cast<double>(rows.cols()));
  for (int64_t i = 0; i < rows.rows(); ++i) {
    const double norm = rows.row(i).norm();
    if (norm > 0) rows.row(i) *= length / norm;
  }
}

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

}  // namespace

absl::Status EmbedFeatures(const std::string& kind, const TextDataset& data, StatisticsCache& cache,
                           TransformerNetwork<float>& network) {
  const int width = network.shape().width, vocab = network.shape().vocab;
  SaffuSolveSpec spec;
  spec.bits = width;
  if (kind == "cipher") spec.streams = {Stream::kCipher};
  ASSIGN_OR_RETURN(const std::shared_ptr<const FeatureTables> features,
                   BuildFeatures(spec, data, cache));
  Matrix<double> rows = Matrix<double>::Zero(vocab, width);
  if (kind == "cipher") {
    for (int w = 0; w < vocab; ++w) {
      for (int32_t i = features->cipher.begin[w]; i < features->cipher.begin[w + 1]; ++i) {
        rows(w, features->cipher.index[i]) = features->cipher.value[i];
      }
    }
  } else {
    rows = features->context.cast<double>();
  }
  Standardise(kDeviation, rows);
  const absl::Span<float> embed = network.tensor(network.layout().tok_embed);
  for (int64_t i = 0; i < rows.size(); ++i) embed[i] = static_cast<float>(rows.data()[i]);
  return absl::OkStatus();
}

void SetPriorBias(const TextDataset& data, TransformerNetwork<float>& network) {
  const std::vector<double> prior = UnigramModel::Fit(data.train, data.vocab).log_p;
  std::copy(prior.begin(), prior.end(), network.tensor(network.layout().readout_bias).begin());
  if (network.layout().readout < 0) return;
  // Drawn for logits of deviation 1, which would drown the prior.
  const auto quiet = static_cast<float>(kDeviation * std::sqrt(network.shape().width));
  for (float& weight : network.tensor(network.layout().readout)) weight *= quiet;
}

absl::StatusOr<double> SolveRidgeReadout(const TextDataset& data, int64_t length,
                                         TransformerNetwork<float>& network) {
  constexpr int64_t kSampled = 50'000, kHeldOut = 5'000;
  constexpr double kRidge = 0.01;  // of the mean squared hidden state, times the sample's size
  const int64_t h = network.shape().width, vocab = network.shape().vocab;
  CHECK(network.layout().readout >= 0) << "a tied readout cannot be solved apart";
  const Sample sample(data, length, kSampled, 0), held_out(data, length, kHeldOut, 0.5);
  const auto n = static_cast<int64_t>(sample.inputs.size());
  Matrix<float> hidden(n, h);
  network.Hidden(sample.inputs, length, absl::MakeSpan(hidden.data(), hidden.size()));
  const Eigen::RowVectorXd mean = hidden.cast<double>().colwise().mean();

  // H'H and H'Y of centred H; Y's columns need no centring then.
  Matrix<double> square = Matrix<double>::Zero(h, h), cross = Matrix<double>::Zero(vocab, h);
  constexpr int64_t kStretch = 1024;
  for (int64_t begin = 0; begin < n; begin += kStretch) {
    const int64_t count = std::min(kStretch, n - begin);
    const Matrix<double> rows = hidden.middleRows(begin, count).cast<double>().rowwise() - mean;
    square.noalias() += rows.transpose() * rows;
    for (int64_t r = 0; r < count; ++r) cross.row(sample.targets[begin + r]) += rows.row(r);
  }
  square.diagonal().array() += kRidge * square.trace() / static_cast<double>(h) + 1e-12;
  const Eigen::LLT<Eigen::MatrixXd> factored(square);
  if (factored.info() != Eigen::Success) {
    return absl::FailedPreconditionError("solve.readout: the hidden states' square is singular");
  }
  const Eigen::MatrixXd w = factored.solve(cross.transpose());  // [h, vocab]
  const std::vector<double> prior = UnigramModel::Fit(data.train, data.vocab).log_p;
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
    const double nats = network.Evaluate(held_out.inputs, held_out.targets, length).nats;
    if (nats < least) {
      least = nats;
      best = gain;
    }
  }
  set(best);
  return best;
}

}  // namespace saffron
