#include "core/transformer/transformer_init.h"

#include <cmath>
#include <string>

#include "absl/strings/match.h"
#include "core/base/random.h"

namespace saffron {
namespace {

// FNV-1a of the name: the stream that the tensor's numbers are drawn from.
uint32_t StreamOf(const std::string& name) {
  uint32_t hash = 2166136261u;
  for (const char c : name) hash = (hash ^ static_cast<unsigned char>(c)) * 16777619u;
  return hash;
}

double DeviationOf(const ParameterTensor& tensor, const TransformerShape& shape) {
  // Rows of embeddings are read one at a time.
  const double inputs =
      static_cast<double>(tensor.role == TensorRole::kEmbedding ? shape.width : tensor.rows);
  const double deviation = 0.5 / std::sqrt(inputs);
  const bool writes = absl::EndsWith(tensor.name, ".attn.wo") || absl::EndsWith(tensor.name, ".w2");
  return writes ? deviation / std::sqrt(2.0 * static_cast<double>(shape.layers.size())) : deviation;
}

bool StartsAtOne(const ParameterTensor& tensor, const TransformerShape& shape) {
  return absl::EndsWith(tensor.name, ".gain") ||
         (absl::EndsWith(tensor.name, ".unit_bias") &&
          shape.mlp_unit_bias == MlpUnitBias::kMultiplicative);
}

}  // namespace

std::vector<double> DrawTransformer(const TransformerShape& shape, uint64_t seed) {
  const TransformerLayout layout = LayOut(shape);
  std::vector<double> parameters(static_cast<size_t>(layout.size), 0.0);
  for (const ParameterTensor& tensor : layout.tensors) {
    double* p = parameters.data() + tensor.begin;
    if (tensor.role == TensorRole::kVector) {
      const double start = StartsAtOne(tensor, shape) ? 1 : 0;
      for (int64_t i = 0; i < tensor.size(); ++i) p[i] = start;
      continue;
    }
    const CounterRandom random(seed, RandomPurpose::kWeights, StreamOf(tensor.name));
    const double deviation = DeviationOf(tensor, shape);
    for (int64_t i = 0; i < tensor.size(); ++i) {
      p[i] = deviation * random.Normal(static_cast<uint64_t>(i));
    }
  }
  return parameters;
}

}  // namespace saffron
