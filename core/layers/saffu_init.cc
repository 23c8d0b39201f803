#include "core/layers/saffu_init.h"

#include "core/base/random.h"

namespace saffron {
namespace {

constexpr double kDeviation = 0.01;

}  // namespace

std::vector<SaffuLayerParams<float>> RandomSaffuParams(const std::vector<SaffuLayerShape>& shapes,
                                                       uint64_t seed) {
  std::vector<SaffuLayerParams<float>> layers;
  for (const SaffuLayerShape& shape : shapes) {
    const CounterRandom random(seed, RandomPurpose::kWeights, static_cast<uint32_t>(layers.size()));
    SaffuLayerParams<float> layer;
    layer.shape = shape;
    layer.gain = static_cast<float>(shape.num_keys());
    layer.beta.assign(shape.num_keys(), 0.0f);
    int64_t w_size = 0;
    for (const KeySpec& key : shape.keys) w_size += int64_t{shape.keys[0].dim} * key.dim;
    if (shape.attention) layer.w.assign(w_size, 0.0f);
    layer.u.resize(static_cast<size_t>(shape.InputDim()) * shape.outputs);
    for (size_t i = 0; i < layer.u.size(); ++i) {
      layer.u[i] = static_cast<float>(kDeviation * random.Normal(i));
    }
    layers.push_back(std::move(layer));
  }
  return layers;
}

}  // namespace saffron
