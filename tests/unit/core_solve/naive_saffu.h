#pragma once
// SAFFU written down as its equations stand, in double, one target at a time: what the solve's fast
// passes are checked against.

#include <algorithm>
#include <cmath>
#include <vector>

#include "core/solve/saffu_solve.h"

namespace saffron {

using Dense = std::vector<double>;

inline int32_t NaiveToken(const std::vector<int32_t>& s, int32_t padding, int64_t position) {
  return position >= 0 ? s[position] : padding;
}

inline Dense NaiveCode(const FeatureTables& f, int32_t token) {
  Dense row(f.cipher.dim);
  for (int e = f.cipher.begin[token]; e < f.cipher.begin[token + 1]; ++e) {
    row[f.cipher.index[e]] = f.cipher.value[e];
  }
  return row;
}

struct NaiveOutput {
  Dense p;            // softmax(z)
  Dense attention;    // A
  double h_norm = 0;  // |h|_1
};

inline NaiveOutput NaiveForward(const std::vector<SaffuLayerSolution>& layers, int layer,
                                const FeatureTables& f, const std::vector<int32_t>& s, int64_t t);

// X_k(t) of a layer.
inline Dense NaiveKey(const std::vector<SaffuLayerSolution>& layers, int layer, const KeySpec& key,
                      const FeatureTables& f, const std::vector<int32_t>& s, int64_t t) {
  switch (key.stream) {
    case Stream::kCipher:
      return NaiveCode(f, NaiveToken(s, f.padding, t - key.lag));
    case Stream::kContext: {
      const auto row = f.context.row(NaiveToken(s, f.padding, t - key.lag));
      return Dense(row.data(), row.data() + row.size());
    }
    case Stream::kBag: {
      Dense mean(f.bits);
      for (int r = 1; r <= f.radius; ++r) {
        const Dense code = NaiveCode(f, NaiveToken(s, f.padding, t - r));
        for (int j = 0; j < f.bits; ++j) mean[j] += code[j] / f.radius;
      }
      return mean;
    }
    case Stream::kLower:
      break;
  }
  return NaiveForward(layers, layer - 1, f, s, std::max<int64_t>(0, t - key.lag + 1)).p;
}

inline NaiveOutput NaiveForward(const std::vector<SaffuLayerSolution>& layers, int layer,
                                const FeatureTables& f, const std::vector<int32_t>& s, int64_t t) {
  const SaffuLayerParams<float>& params = layers[layer].params;
  const SaffuLayerShape& shape = params.shape;
  std::vector<Dense> x;
  for (const KeySpec& key : shape.keys) x.push_back(NaiveKey(layers, layer, key, f, s, t));
  NaiveOutput out;
  double total = 0;
  const float* w = params.w.data();
  for (int k = 0; k < shape.num_keys(); ++k) {
    double score = params.beta[k];
    if (shape.attention) {
      for (double q : x[0]) {
        for (double v : x[k]) score += q * *w++ * v;
      }
    }
    out.attention.push_back(std::exp(score));
    total += out.attention.back();
  }
  Dense z(shape.outputs);
  if (!params.bias.empty()) z.assign(params.bias.begin(), params.bias.end());
  for (int k = 0; k < shape.num_keys(); ++k) {
    out.attention[k] /= total;
    for (size_t j = 0; j < x[k].size(); ++j) {
      const double h = params.gain * out.attention[k] * x[k][j];
      out.h_norm += h;
      const float* u = params.u.data() + (shape.KeyOffset(k) + j) * shape.outputs;
      for (int i = 0; i < shape.outputs; ++i) z[i] += h * u[i];
    }
  }
  const double top = *std::max_element(z.begin(), z.end());
  double sum = 0;
  for (double& v : z) sum += v = std::exp(v - top);
  for (double& v : z) v /= sum;
  out.p = z;
  return out;
}

// Mean nats over targets under the top layer.
inline double NaiveNats(const SaffuSolution& solution, const std::vector<int32_t>& s,
                        const std::vector<int32_t>& targets) {
  double nats = 0;
  const int top = static_cast<int>(solution.layers.size()) - 1;
  for (int32_t t : targets) {
    nats -= std::log(NaiveForward(solution.layers, top, *solution.features, s, t).p[s[t]]);
  }
  return nats / static_cast<double>(targets.size());
}

}  // namespace saffron
