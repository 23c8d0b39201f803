#pragma once
// What an explicit SAFFU solve is asked for, and the shapes that follow from it alone.

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "core/model/feature_tables.h"
#include "core/model/saffu_params.h"
#include "core/solve/gains.h"

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
  double alpha = 0;  // prior mass; 0: chosen on the hold-out from {100, 300, 1000, 3000}
  double kappa = 1;  // evidence shrink
  // Add the hold-out's counts to the evidence and the prior once gains, smoothing and attention are
  // fitted to it.
  bool refold = true;
  uint64_t seed = 0;  // of the noise in noisy features; nothing else is random
};

// INVALID_ARGUMENT naming the registered key, what it may be and what it is, when no model over
// `vocab` types follows from the spec.
absl::Status CheckSpec(const SaffuSolveSpec& spec, int vocab);

// Streams of "x", "x+c", "x+r", "x+c+r". INVALID_ARGUMENT for anything else.
absl::StatusOr<std::vector<Stream>> ParseStreams(const std::string& text);

// Keys of the spec's streams, in their order, lags ascending.
std::vector<KeySpec> TokenKeys(const SaffuSolveSpec& spec);

// Keys, head and outputs of every layer, bottom first, from the spec alone. Lower layers have the
// spec's token keys and predict the `width`-bit cipher code of the next token; a layer above them
// has the token keys and one o key for each lag of x. Where attention does not help, its W is zero.
std::vector<SaffuLayerShape> SaffuShapes(const SaffuSolveSpec& spec, int vocab);

// Name of a key in metrics: "x1", "c1", "r", "o2".
std::string KeyName(const KeySpec& key);

}  // namespace saffron
