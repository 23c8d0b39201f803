#include "tests/unit/core_layers/saffu_fixture.h"

#include <algorithm>
#include <cmath>
#include <map>

#include "core/base/random.h"

namespace saffron {
namespace {

int32_t TokenAt(const std::vector<int32_t>& stream, int64_t t, const FeatureTables& features) {
  return t < 0 ? features.padding : stream[static_cast<size_t>(t)];
}

std::vector<double> CipherRow(const FeatureTables& features, int32_t id) {
  std::vector<double> row(features.bits, 0.0);
  for (int32_t i = features.cipher.begin[id]; i < features.cipher.begin[id + 1]; ++i) {
    row[features.cipher.index[i]] = features.cipher.value[i];
  }
  return row;
}

std::vector<double> LogSoftmax(std::vector<double> z) {
  const double max = *std::max_element(z.begin(), z.end());
  double sum = 0;
  for (const double v : z) sum += std::exp(v - max);
  for (double& v : z) v -= max + std::log(sum);
  return z;
}

std::vector<double> LayerLogProbabilities(const std::vector<SaffuLayerParams<double>>& layers,
                                          int layer, const FeatureTables& features,
                                          const std::vector<int32_t>& stream, int64_t t);

std::vector<double> KeyVector(const std::vector<SaffuLayerParams<double>>& layers, int layer,
                              const KeySpec& key, const FeatureTables& features,
                              const std::vector<int32_t>& stream, int64_t t) {
  std::vector<double> x(key.dim, 0.0);
  switch (key.stream) {
    case Stream::kCipher:
      return CipherRow(features, TokenAt(stream, t - key.lag, features));
    case Stream::kContext:
      for (int j = 0; j < key.dim; ++j) {
        x[j] = features.context(TokenAt(stream, t - key.lag, features), j);
      }
      return x;
    case Stream::kBag:
      for (int lag = 1; lag <= features.radius; ++lag) {
        const auto row = CipherRow(features, TokenAt(stream, t - lag, features));
        for (int j = 0; j < key.dim; ++j) x[j] += row[j] / features.radius;
      }
      return x;
    case Stream::kLower:
      x = LayerLogProbabilities(layers, layer - 1, features, stream, t - key.lag + 1);
      for (double& v : x) v = std::exp(v);
      return x;
  }
  return x;
}

std::vector<double> LayerLogProbabilities(const std::vector<SaffuLayerParams<double>>& layers,
                                          int layer, const FeatureTables& features,
                                          const std::vector<int32_t>& stream, int64_t t) {
  const SaffuLayerParams<double>& p = layers[layer];
  const int num_keys = p.shape.num_keys();
  std::vector<std::vector<double>> x;
  for (const KeySpec& key : p.shape.keys) {
    x.push_back(KeyVector(layers, layer, key, features, stream, t));
  }
  std::vector<double> score = p.beta;
  size_t w = 0;
  for (int k = 0; p.shape.attention && k < num_keys; ++k) {
    for (const double q : x[0]) {
      for (const double v : x[k]) score[k] += q * p.w[w++] * v;
    }
  }
  const std::vector<double> log_attention = LogSoftmax(score);
  std::vector<double> z(p.shape.outputs, 0.0);
  if (!p.bias.empty()) z = p.bias;
  for (int k = 0; k < num_keys; ++k) {
    for (int j = 0; j < p.shape.keys[k].dim; ++j) {
      const double h = p.gain * std::exp(log_attention[k]) * x[k][j];
      const double* u = p.u.data() + int64_t{p.shape.KeyOffset(k) + j} * p.shape.outputs;
      for (int i = 0; i < p.shape.outputs; ++i) z[i] += h * u[i];
    }
  }
  return LogSoftmax(z);
}

void FillNormal(std::vector<double>& v, size_t size, double deviation, uint64_t seed,
                uint32_t substream) {
  const CounterRandom random(seed, RandomPurpose::kTest, substream);
  v.resize(size);
  for (size_t i = 0; i < size; ++i) v[i] = deviation * random.Normal(i);
}

}  // namespace

std::shared_ptr<const FeatureTables> MakeFeatures(int vocab, int bits, bool noisy) {
  const CounterRandom random(11, RandomPurpose::kTest);
  auto features = std::make_shared<FeatureTables>();
  features->bits = bits;
  features->radius = 5;
  features->padding = 1;
  features->cipher.dim = bits;
  features->cipher.begin.push_back(0);
  features->context.resize(vocab, bits);
  uint64_t draw = 0;
  for (int w = 0; w < vocab; ++w) {
    const int count = noisy ? bits : 1 + static_cast<int>(random.Below(draw++, 3));
    std::map<int32_t, double> row;
    while (static_cast<int>(row.size()) < count) {
      const int32_t j = noisy ? static_cast<int32_t>(row.size())
                              : static_cast<int32_t>(random.Below(draw++, bits));
      row[j] = 0.1 + random.Uniform(draw++);
    }
    double sum = 0;
    for (const auto& [j, v] : row) sum += v;
    for (const auto& [j, v] : row) {
      features->cipher.index.push_back(j);
      features->cipher.value.push_back(static_cast<float>(v / sum));
    }
    features->cipher.begin.push_back(static_cast<int32_t>(features->cipher.index.size()));
    for (int j = 0; j < bits; ++j) {
      features->context(w, j) = static_cast<float>(0.1 + random.Uniform(draw++));
    }
    features->context.row(w) /= features->context.row(w).sum();
  }
  return features;
}

std::vector<SaffuLayerParams<double>> MakeLayers(const NetworkSpec& spec,
                                                 const FeatureTables& features, uint64_t seed) {
  const std::map<char, Stream> streams = {
      {'x', Stream::kCipher}, {'c', Stream::kContext}, {'r', Stream::kBag}};
  std::vector<SaffuLayerParams<double>> layers(spec.layers);
  const int width = spec.head == Head::kSum ? features.bits : features.bits + 3;
  for (int l = 0; l < spec.layers; ++l) {
    SaffuLayerParams<double>& layer = layers[l];
    SaffuLayerShape& shape = layer.shape;
    std::map<char, int> lag;
    for (const char stream : spec.streams) {
      shape.keys.push_back(
          {.stream = streams.at(stream), .lag = ++lag[stream], .dim = features.bits});
    }
    for (int o = 1; l > 0 && o <= spec.lower_lags; ++o) {
      shape.keys.push_back({.stream = Stream::kLower, .lag = o, .dim = width});
    }
    if (l > 0 && spec.query_lower) std::swap(shape.keys.front(), shape.keys.back());
    shape.head = spec.head;
    shape.attention = spec.attention;
    shape.outputs = l == spec.layers - 1 ? features.cipher.rows() : width;
    layer.gain = 2.5;
    size_t w_size = 0;
    for (const KeySpec& key : shape.keys) w_size += shape.keys[0].dim * key.dim;
    const uint32_t substream = 10 * static_cast<uint32_t>(l);
    FillNormal(layer.beta, shape.keys.size(), 1, seed, substream);
    FillNormal(layer.w, spec.attention ? w_size : 0, 2, seed, substream + 1);
    FillNormal(layer.u, static_cast<size_t>(shape.InputDim()) * shape.outputs, 1, seed,
               substream + 2);
    FillNormal(layer.bias, spec.bias ? shape.outputs : 0, 1, seed, substream + 3);
  }
  return layers;
}

std::vector<int32_t> MakeStream(int vocab, int size, uint64_t seed) {
  const CounterRandom random(seed, RandomPurpose::kTest, 99);
  std::vector<int32_t> stream(size);
  // Squaring makes low ids frequent, so that a batch repeats tokens.
  for (int i = 0; i < size; ++i) {
    const double u = random.Uniform(i);
    stream[i] = static_cast<int32_t>(u * u * vocab);
  }
  return stream;
}

std::vector<double> PlainLogProbabilities(const std::vector<SaffuLayerParams<double>>& layers,
                                          const FeatureTables& features,
                                          const std::vector<int32_t>& stream, int64_t t) {
  return LayerLogProbabilities(layers, static_cast<int>(layers.size()) - 1, features, stream, t);
}

std::vector<SaffuLayerParams<float>> ToFloat(const std::vector<SaffuLayerParams<double>>& layers) {
  std::vector<SaffuLayerParams<float>> out;
  for (const SaffuLayerParams<double>& layer : layers) {
    SaffuLayerParams<float> f;
    f.shape = layer.shape;
    f.gain = static_cast<float>(layer.gain);
    f.beta.assign(layer.beta.begin(), layer.beta.end());
    f.w.assign(layer.w.begin(), layer.w.end());
    f.u.assign(layer.u.begin(), layer.u.end());
    f.bias.assign(layer.bias.begin(), layer.bias.end());
    out.push_back(std::move(f));
  }
  return out;
}

}  // namespace saffron
