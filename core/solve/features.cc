#include "core/solve/features.h"

#include <algorithm>
#include <vector>

#include "core/base/check.h"
#include "core/base/random.h"
#include "core/base/status_macros.h"
#include "core/solve/bit_cipher.h"

namespace saffron {
namespace {

// Row `w` of the code with `noise` of its mass on the cells that the code leaves empty.
void AppendNoisyRow(const SparseRows& code, int w, double noise, const CounterRandom& random,
                    SparseRows* out) {
  const int dim = code.dim;
  std::vector<double> draws(dim);
  double total = 0;
  for (int j = 0, e = code.begin[w]; j < dim; ++j) {
    if (e < code.begin[w + 1] && code.index[e] == j) {
      ++e;
      continue;
    }
    draws[j] = 1 - random.Uniform(static_cast<uint64_t>(w) * dim + j);  // in (0, 1]
    total += draws[j];
  }
  for (int j = 0, e = code.begin[w]; j < dim; ++j) {
    const bool coded = e < code.begin[w + 1] && code.index[e] == j;
    const double value = coded ? (1 - noise) * code.value[e++] : noise * draws[j] / total;
    out->index.push_back(j);
    out->value.push_back(static_cast<float>(value));
  }
  out->begin.push_back(static_cast<int32_t>(out->index.size()));
}

}  // namespace

absl::StatusOr<SparseRows> CipherFeatures(int vocab, int bits, FeatureKind kind, double noise,
                                          uint64_t seed) {
  ASSIGN_OR_RETURN(SparseRows code, BitCipherRows(vocab, bits));
  switch (kind) {
    case FeatureKind::kL1:
      break;
    case FeatureKind::kBinary:
      std::fill(code.value.begin(), code.value.end(), 1.0f);
      break;
    case FeatureKind::kNoisy: {
      const CounterRandom random(seed, RandomPurpose::kNoise);
      SparseRows noisy{.dim = bits, .begin = {0}, .index = {}, .value = {}};
      for (int w = 0; w < vocab; ++w) AppendNoisyRow(code, w, noise, random, &noisy);
      return noisy;
    }
  }
  return code;
}

Matrix<float> ContextVectors(const CountTable& lag1, const SparseRows& cipher) {
  const int vocab = cipher.rows(), bits = cipher.dim;
  CHECK(lag1.rows() == vocab);
  std::vector<double> mean(bits);
  for (size_t e = 0; e < cipher.index.size(); ++e) mean[cipher.index[e]] += cipher.value[e];
  for (double& m : mean) m /= vocab;
  Matrix<float> context(vocab, bits);
  for (int w = 0; w < vocab; ++w) {
    std::vector<double> row = mean;
    for (int32_t i = lag1.begin[w]; i < lag1.begin[w + 1]; ++i) {
      const int32_t y = lag1.next[i];
      for (int32_t e = cipher.begin[y]; e < cipher.begin[y + 1]; ++e) {
        row[cipher.index[e]] += static_cast<double>(lag1.count[i]) * cipher.value[e];
      }
    }
    double norm = 0;
    for (double v : row) norm += v;
    for (int j = 0; j < bits; ++j) context(w, j) = static_cast<float>(row[j] / norm);
  }
  return context;
}

SparseRows CipherTargets(int vocab, int width) {
  auto rows = BitCipherRows(vocab, width);
  CHECK(rows.ok()) << rows.status();
  return *std::move(rows);
}

absl::StatusOr<std::shared_ptr<const FeatureTables>> BuildFeatures(const SaffuSolveSpec& spec,
                                                                   const TextDataset& data,
                                                                   StatisticsCache& cache) {
  auto tables = std::make_shared<FeatureTables>();
  tables->kind = spec.features;
  tables->bits = spec.bits;
  tables->padding = data.eod;
  ASSIGN_OR_RETURN(tables->cipher,
                   CipherFeatures(data.vocab, spec.bits, spec.features, spec.noise, spec.seed));
  for (Stream stream : spec.streams) {
    if (stream == Stream::kBag) tables->radius = spec.radius;
    if (stream == Stream::kContext) {
      ASSIGN_OR_RETURN(const CountTable lag1, LagCounts(data, 1, Part::kCounted, cache));
      tables->context = ContextVectors(lag1, tables->cipher);
    }
  }
  return tables;
}

}  // namespace saffron
