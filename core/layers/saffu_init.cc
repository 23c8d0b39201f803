#include "core/layers/saffu_init.h"

#include "core/base/random.h"

namespace saffron {
namespace {

// With keys of norm 1 and attention 1/NK, each key contributes g / NK times a mean of rows of U to
// the logits: 2 lets Adam reach logits of the wanted size at customary rates (saffu_init.h).
constexpr double kGainPerKey = 2;
constexpr double kTopDeviation = 0.01;
// Below the top, U must differ from column to column for the outputs to say anything at all.
constexpr double kLowerDeviation = 0.1;

}  // namespace

std::vector<SaffuLayerParams<float>> RandomSaffuParams(const std::vector<SaffuLayerShape>& shapes,
                                                       uint64_t seed) {
  std::vector<SaffuLayerParams<float>> layers;
  for (const SaffuLayerShape& shape : shapes) {
    const CounterRandom random(seed, RandomPurpose::kWeights, static_cast<uint32_t>(layers.size()));
    SaffuLayerParams<float> layer;
    layer.shape = shape;
    layer.gain = static_cast<float>(kGainPerKey * shape.num_keys());
    layer.beta.assign(shape.num_keys(), 0.0f);
    int64_t w_size = 0;
    for (const KeySpec& key : shape.keys) w_size += int64_t{shape.keys[0].dim} * key.dim;
    if (shape.attention) layer.w.assign(w_size, 0.0f);
    layer.u.resize(static_cast<size_t>(shape.InputDim()) * shape.outputs);
    const bool top = layers.size() + 1 == shapes.size();
    const double deviation = top ? kTopDeviation : kLowerDeviation;
    for (size_t i = 0; i < layer.u.size(); ++i) {
      layer.u[i] = static_cast<float>(deviation * random.Normal(i));
    }
    layers.push_back(std::move(layer));
  }
  return layers;
}

}  // namespace saffron
