#pragma once
// Where a transformer's parameters start: at draws, and for an explicit start with an embedding
// made of token features (core/solve) and a readout that knows token frequencies.

#include <cstdint>
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

// readout (untied) from a ridge regression of the next token on the hidden states h of the present
// network over a sample of training windows of `length`: with W = (H'H + r I)^-1 H'(Y - p), H and Y
// centred, log p(y|h) is log p_y + (h - mean h)' W_y / p_y to first order in W. One gain for all of
// it is the best of a few on windows left out. Sets readout_bias; returns the gain.
absl::StatusOr<double> SolveRidgeReadout(const TextDataset& data, int64_t length,
                                         TransformerNetwork<float>& network);

}  // namespace saffron
