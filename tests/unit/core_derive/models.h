#pragma once
// Small random transformers of every kind, and what they compute.

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <memory>
#include <string>
#include <vector>

#include "core/base/random.h"
#include "core/derive/derive.h"
#include "core/transformer/transformer_network.h"

namespace saffron {

inline constexpr int kVocab = 11, kContext = 6;

// [LayOut(shape).size] standard normals.
inline std::vector<double> DrawModel(const TransformerShape& shape, uint64_t seed) {
  const CounterRandom random(seed, RandomPurpose::kTest);
  std::vector<double> parameters(static_cast<size_t>(LayOut(shape).size));
  for (size_t i = 0; i < parameters.size(); ++i) parameters[i] = random.Normal(i);
  return parameters;
}

inline GrowableModel MakeModel(const TransformerShape& shape, uint64_t seed) {
  GrowableModel model = {.shape = shape, .parameters = DrawModel(shape, seed)};
  for (double& p : model.parameters) p *= 0.6;
  return model;
}

inline TransformerShape BaseShape() {
  TransformerShape shape;
  shape.vocab = kVocab;
  shape.width = 6;
  shape.context = kContext;
  shape.final_epsilon = 3e-5;
  const TransformerLayerShape layer = {.heads = 2,
                                       .kv_heads = 2,
                                       .key_dim = 4,
                                       .value_dim = 3,
                                       .mlp_width = 5,
                                       .norm1_epsilon = 1e-5,
                                       .norm2_epsilon = 2e-5};
  shape.layers = {layer, layer};
  shape.layers[1].mlp_width = 4;
  shape.layers[1].value_dim = 2;
  return shape;
}

inline void SetPositions(TransformerShape& shape, PositionKind kind) {
  shape.positions = kind;
  for (TransformerLayerShape& layer : shape.layers) {
    layer.rope_frequencies.clear();
    layer.alibi_slopes.clear();
    if (kind == PositionKind::kRope) layer.rope_frequencies = RopeFrequencies(layer.key_dim);
    if (kind == PositionKind::kAlibi) layer.alibi_slopes = AlibiSlopes(layer.heads);
  }
}

struct NamedShape {
  std::string name;
  TransformerShape shape;
};

// With RMSNorm: all operators apply.
inline std::vector<NamedShape> RmsShapes() {
  std::vector<NamedShape> shapes;
  const auto add = [&](const std::string& name, PositionKind positions, MlpKind mlp) -> auto& {
    shapes.push_back({name, BaseShape()});
    TransformerShape& shape = shapes.back().shape;
    SetPositions(shape, positions);
    shape.mlp = mlp;
    return shape;
  };
  {
    TransformerShape& s = add("relu learned untied biases", PositionKind::kLearned, MlpKind::kRelu);
    s.biases = true;
    s.tied = false;
    s.readout_bias = true;
  }
  add("gelu rope tied", PositionKind::kRope, MlpKind::kGelu);
  {
    TransformerShape& s = add("geglu alibi times", PositionKind::kAlibi, MlpKind::kGeglu);
    s.biases = true;
    s.mlp_unit_bias = MlpUnitBias::kMultiplicative;
  }
  {
    TransformerShape& s = add("swiglu rope grouped plus", PositionKind::kRope, MlpKind::kSwiglu);
    s.biases = true;
    s.tied = false;
    s.mlp_unit_bias = MlpUnitBias::kAdditive;
    for (TransformerLayerShape& layer : s.layers) layer.kv_heads = 1;
  }
  {
    TransformerShape& s = add("two-sided without final norm", PositionKind::kNone, MlpKind::kRelu);
    s.causal = false;
    s.final_norm = false;
    s.tied = false;
  }
  {
    TransformerShape& s = add("experts beside dense rope", PositionKind::kRope, MlpKind::kGeglu);
    s.biases = true;
    s.tied = false;
    // Choices that are drawn depend on a layer's number, so that new layers below change them.
    s.layers[1].moe = {.experts = 4, .second = SecondPolicy::kAll, .dense = DensePlace::kBefore};
    s.layers[0].moe = {.experts = 3, .top = 1, .gates = MoeGates::kAll};
  }
  return shapes;
}

inline TransformerShape LayerNormShape() {
  TransformerShape shape = BaseShape();
  SetPositions(shape, PositionKind::kLearned);
  shape.norm = NormKind::kLayer;
  shape.biases = true;
  return shape;
}

// Three sequences.
inline std::vector<int32_t> ProbeTokens() {
  const CounterRandom random(77, RandomPurpose::kTest);
  std::vector<int32_t> tokens(3 * kContext);
  for (size_t i = 0; i < tokens.size(); ++i) {
    tokens[i] = static_cast<int32_t>(random.Below(i, kVocab));
  }
  return tokens;
}

template <typename T = double>
std::unique_ptr<TransformerNetwork<T>> MakeNetwork(const GrowableModel& model) {
  auto network = TransformerNetwork<T>::Create(model.shape, {});
  EXPECT_TRUE(network.ok()) << network.status();
  std::copy(model.parameters.begin(), model.parameters.end(),
            (*network)->arena().parameters().begin());
  return *std::move(network);
}

template <typename T = double>
std::vector<T> LogitsOf(const GrowableModel& model) {
  const std::vector<int32_t> tokens = ProbeTokens();
  std::vector<T> logits(tokens.size() * static_cast<size_t>(model.shape.vocab));
  MakeNetwork<T>(model)->Logits(tokens, kContext, absl::MakeSpan(logits));
  return logits;
}

template <typename T>
double MaxDifference(const std::vector<T>& a, const std::vector<T>& b) {
  EXPECT_EQ(a.size(), b.size());
  double difference = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    const double d = std::abs(static_cast<double>(a[i]) - static_cast<double>(b[i]));
    if (!(d <= difference)) difference = d;  // NaN too
  }
  return difference;
}

inline GrowableModel Grow(const GrowableModel& model, const std::string& ops, uint64_t seed = 5) {
  const auto list = ParseDeriveOps(ops);
  EXPECT_TRUE(list.ok()) << list.status();
  auto child = Derive(model, *list, DrawModel, seed);
  EXPECT_TRUE(child.ok()) << child.status();
  return *std::move(child);
}

inline std::vector<TensorMap> MapsOf(const TransformerShape& shape, const std::string& op) {
  absl::StatusOr<ModelExpansion> expansion = ExpandModel(shape, ParseDeriveOps(op)->front());
  EXPECT_TRUE(expansion.ok()) << expansion.status();
  return std::move(expansion->maps);
}

inline std::string Refusal(const GrowableModel& model, const std::string& ops) {
  const auto child = Derive(model, *ParseDeriveOps(ops), DrawModel, 5);
  EXPECT_EQ(child.status().code(), absl::StatusCode::kInvalidArgument) << child.status();
  return std::string(child.status().message());
}

}  // namespace saffron
