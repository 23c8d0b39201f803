#include "core/train/transformer_start.h"

#include <algorithm>
#include <cmath>
#include <memory>
#include <vector>

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

}  // namespace saffron
