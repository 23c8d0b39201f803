#pragma once
// The explicit solution of a SAFFU model: features, counts, closed-form weights, gains and
// attention, layer by layer, without a gradient of any weight.
//
// After Williams & Zhao, arXiv:2311.07510 (SAFFU) and arXiv:2311.07498 (explicit solution of
// single-layer softmax networks); the equations are this project's own and stand beside their code.

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "core/data/data_store.h"
#include "core/model/feature_tables.h"
#include "core/model/saffu_params.h"
#include "core/solve/gains.h"
#include "core/solve/statistics_cache.h"

namespace saffron {

// What is solved. The registry's keys of the same names document each field.
struct SaffuSolveSpec {
  int bits = 64;                                                      // model.bits
  int context = 4;                                                    // model.context: lags of x
  std::vector<Stream> streams = {Stream::kCipher, Stream::kContext};  // model.streams; x first
  int context_lags = 1;                                               // lags of c
  int radius = 32;                                                    // of r
  FeatureKind features = FeatureKind::kL1;
  double noise = 0.1;  // share of a cipher row's mass that is noise (kNoisy only)
  Head head = Head::kConcat;
  bool attention = true;  // solve W (model.attention = solved); else static scores
  int layers = 1;
  int width = 64;  // outputs of each layer below the top
  GainMode gains = GainMode::kCalibrated;
  double alpha = 0;   // prior mass; 0: chosen on the hold-out from {100, 300, 1000, 3000}
  double kappa = 1;   // evidence shrink
  uint64_t seed = 0;  // of the noise in noisy features; nothing else is random
};

// Streams of "x", "x+c", "x+r", "x+c+r". INVALID_ARGUMENT for anything else.
absl::StatusOr<std::vector<Stream>> ParseStreams(const std::string& text);

// Keys, head and outputs of every layer, bottom first, from the spec alone. Lower layers have the
// spec's token keys and predict the `width`-bit cipher code of the next token; a layer above them
// has the token keys and one o key for each lag of x. Where attention does not help, its W is zero.
std::vector<SaffuLayerShape> SaffuShapes(const SaffuSolveSpec& spec, int vocab);

// Name of a key in metrics: "x1", "c1", "r", "o2".
std::string KeyName(const KeySpec& key);

// Cipher codes of `width` bits, [V, width], rows of L1 norm 1: the soft targets of lower layers.
SparseRows CipherTargets(int vocab, int width);

// Feature tables of the spec over a data set (context vectors are counted from the training stream
// without its hold-out). INVALID_ARGUMENT when 2^bits <= vocab or the stream is too short to hold
// anything out (fewer than 64 tokens).
absl::StatusOr<std::shared_ptr<const FeatureTables>> BuildFeatures(const SaffuSolveSpec& spec,
                                                                   const TextDataset& data,
                                                                   StatisticsCache& cache);

struct SaffuLayerSolution {
  SaffuLayerParams<float> params;
  std::vector<double> gains;  // lambda of each key, [NK]
  double alpha = 0;           // the prior mass used
  double kappa = 0;
  double gamma = 0;         // the attention's scale; 0 when static
  bool recounted = false;   // U comes from attention-weighted counts
  double holdout_nats = 0;  // per hold-out token (cross-entropy with soft targets below the top)
  double holdout_static_nats = 0;  // the same before attention
};

struct SaffuSolution {
  std::shared_ptr<const FeatureTables> features;
  std::vector<SaffuLayerSolution> layers;  // bottom first
  double holdout_perplexity = 0;           // of the top layer
  std::map<std::string, double>
      seconds;  // per stage ("count", "calibrate", ...); not deterministic
};

// Solves bottom-up. Everything but `seconds` is a function of (spec, streams) alone, bit for bit,
// whatever the cache holds. Runs on the calling thread. Needs data.train and data.vocab only.
// Errors as BuildFeatures; also INVALID_ARGUMENT for a spec out of range.
absl::StatusOr<SaffuSolution> SolveSaffu(const SaffuSolveSpec& spec, const TextDataset& data,
                                         StatisticsCache& cache);

}  // namespace saffron
