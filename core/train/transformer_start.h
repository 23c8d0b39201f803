#pragma once
// Where a transformer's parameters start: at draws, and for an explicit start with an embedding
// made of token features (core/solve) and a readout that knows token frequencies (one that knows
// hidden states: readout_start.h).

#include <string>

#include "absl/status/status.h"
#include "core/data/data_store.h"
#include "core/solve/statistics_cache.h"
#include "core/transformer/transformer_network.h"

namespace saffron {

// tok_embed from features of as many bits as it is wide: "cipher" codes, or "context" vectors.
// Columns are centred and scaled to equal spread, rows to the length that drawn ones have.
absl::Status EmbedFeatures(const std::string& kind, const TextDataset& data, StatisticsCache& cache,
                           TransformerNetwork<float>& network);

// readout_bias = log of the smoothed token frequencies of the training stream; an untied readout is
// scaled down to the size of embeddings.
void SetPriorBias(const TextDataset& data, TransformerNetwork<float>& network);

}  // namespace saffron
