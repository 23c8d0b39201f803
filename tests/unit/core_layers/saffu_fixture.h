#pragma once
// Small SAFFU networks over made-up features, and their loss straight from the formulas.

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "core/model/feature_tables.h"
#include "core/model/saffu_params.h"

namespace saffron {

// V types, `bits` wide: sparse cipher rows of one to three non-zeros (all of them where `noisy`),
// dense context rows, a radius of 5. L1 norm 1.
std::shared_ptr<const FeatureTables> MakeFeatures(int vocab, int bits, bool noisy);

struct NetworkSpec {
  std::string streams = "xxc";  // a key for each letter: x, c and r; lags count up for each stream
  Head head = Head::kConcat;
  bool attention = true;
  bool bias = false;
  int layers = 1;
  int lower_lags = 2;        // o keys of every layer above the bottom
  bool query_lower = false;  // an o key comes first
};

// Random parameters of a network over `features`.
std::vector<SaffuLayerParams<double>> MakeLayers(const NetworkSpec& spec,
                                                 const FeatureTables& features, uint64_t seed);

std::vector<int32_t> MakeStream(int vocab, int size, uint64_t seed);

// log p of every type at position t, by the definition: dense vectors, no sharing, no blocks.
std::vector<double> PlainLogProbabilities(const std::vector<SaffuLayerParams<double>>& layers,
                                          const FeatureTables& features,
                                          const std::vector<int32_t>& stream, int64_t t);

std::vector<SaffuLayerParams<float>> ToFloat(const std::vector<SaffuLayerParams<double>>& layers);

}  // namespace saffron
