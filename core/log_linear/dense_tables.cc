#include "core/log_linear/dense_tables.h"

#include <numeric>
#include <utility>

#include "core/base/check.h"
#include "core/base/status_macros.h"
#include "core/math/packed_gemm.h"
#include "core/solve/features.h"
#include "core/solve/key_counts.h"
#include "core/solve/layer_counts.h"

namespace saffron {
namespace {

// The parts that `targets` has.
std::vector<Part> PartsOf(const TargetSet& targets) {
  std::vector<Part> parts;
  if (targets.counted) parts.push_back(Part::kCounted);
  if (targets.held) parts.push_back(Part::kHeld);
  return parts;
}

absl::StatusOr<CountTable> LagCountsOf(const std::vector<Part>& parts, const TextDataset& data,
                                       StatisticsCache& cache) {
  ASSIGN_OR_RETURN(CountTable sum, LagCounts(data, 1, parts[0], cache));
  for (size_t i = 1; i < parts.size(); ++i) {
    ASSIGN_OR_RETURN(const CountTable more, LagCounts(data, 1, parts[i], cache));
    sum = AddCounts(sum, more);
  }
  return sum;
}

template <typename T>
DenseTable<T> SolveTable(const KeySpec& key, const KeyCounts& counts, const std::vector<double>& p,
                         double alpha, double kappa) {
  DenseTable<T> table;
  const Matrix<double> f = CountsByOutput(counts, nullptr);
  Matrix<float> r(f.rows(), f.cols());
  PointwiseEvidence(f, p, alpha, kappa, r);
  table.counts = counts.token_major.cast<float>();
  for (int64_t j = 0; j < f.rows(); ++j) table.mass.push_back(f.row(j).sum());
  Matrix<T> as_t = r.cast<T>();
  if (key.stream == Stream::kCipher) {
    table.r = std::move(as_t);
  } else {
    table.packed.resize(PackedSize<T>(f.rows(), f.cols()));
    PackRight(f.rows(), f.cols(), as_t.data(), f.cols(), table.packed.data());
  }
  return table;
}

}  // namespace

template <typename T>
absl::StatusOr<DenseTables<T>> DenseTables<T>::Load(const SaffuSolveSpec& spec,
                                                    const TextDataset& data,
                                                    const TargetSet& targets,
                                                    StatisticsCache& cache) {
  DenseTables made;
  if (spec.streams.empty()) return made;
  const int64_t tokens = std::ssize(data.train);
  CHECK(targets.first == 0 && targets.last >= tokens) << "a shard";
  CHECK(targets.rule.Key() == HoldoutRule::For(tokens).Key()) << targets.rule.Key();
  const std::vector<Part> parts = PartsOf(targets);
  made.keys = TokenKeys(spec);
  made.alpha = spec.alpha;
  made.kappa = spec.kappa;
  ASSIGN_OR_RETURN(const CountTable lag1, LagCountsOf(parts, data, cache));
  made.token_counts = lag1.ColumnSums(data.vocab);
  for (int w = 0; w < lag1.rows(); ++w) {
    const auto row = lag1.count.subspan(lag1.begin[w], lag1.begin[w + 1] - lag1.begin[w]);
    made.followers.push_back(std::accumulate(row.begin(), row.end(), int64_t{0}));
  }
  made.p = OutputPrior(made.token_counts, nullptr);
  FeatureTables& features = made.features;
  features.bits = spec.bits;
  features.radius = spec.radius;
  features.padding = data.eod;
  ASSIGN_OR_RETURN(features.cipher, CipherFeatures(data.vocab, spec.bits, FeatureKind::kL1, 0, 0));
  features.context = ContextVectors(lag1, features.cipher);

  // One key after the other: counts in double take twice the room of tables.
  for (const KeySpec& key : made.keys) {
    const SaffuLayerShape shape = {.keys = {key}, .outputs = data.vocab};
    const LayerProblem problem = {.spec = spec,
                                  .shape = shape,
                                  .features = features,
                                  .data = data,
                                  .soft = nullptr,
                                  .below = nullptr,
                                  .cache = cache};
    KeyWindow window(features, shape.keys, data.train, nullptr);
    KeyCounts counts{Matrix<double>::Zero(data.vocab, key.dim)};
    for (Part part : parts) {
      ASSIGN_OR_RETURN(const std::vector<KeyCounts> more,
                       CountKeys(problem, targets.rule, part, &window));
      counts.token_major += more[0].token_major;
    }
    made.tables.push_back(SolveTable<T>(key, counts, made.p, spec.alpha, spec.kappa));
  }
  return made;
}

template <typename T>
int64_t DenseTables<T>::entries() const {
  int64_t entries = 0;
  for (const DenseTable<T>& table : tables) entries += table.counts.size();
  return entries;
}

template struct DenseTables<float>;
template struct DenseTables<double>;

}  // namespace saffron
