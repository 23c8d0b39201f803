#include "core/transformer/transformer_init.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <string>

namespace saffron {
namespace {

TransformerShape SomeShape(int layers) {
  TransformerShape shape;
  shape.vocab = 50;
  shape.width = 32;
  shape.context = 8;
  shape.positions = PositionKind::kNone;
  shape.mlp_unit_bias = MlpUnitBias::kMultiplicative;
  shape.biases = true;
  shape.tied = false;
  shape.layers.assign(static_cast<size_t>(layers),
                      {.heads = 2, .kv_heads = 2, .key_dim = 16, .value_dim = 16, .mlp_width = 48});
  return shape;
}

std::map<std::string, std::vector<double>> Drawn(const TransformerShape& shape, uint64_t seed) {
  const std::vector<double> all = DrawTransformer(shape, seed);
  std::map<std::string, std::vector<double>> tensors;
  for (const ParameterTensor& tensor : LayOut(shape).tensors) {
    const auto from = all.begin() + tensor.begin;
    tensors[tensor.name].assign(from, from + tensor.size());
  }
  return tensors;
}

double Deviation(const std::vector<double>& values) {
  double sum = 0;
  for (const double x : values) sum += x * x;
  return std::sqrt(sum / static_cast<double>(values.size()));
}

TEST(TransformerInit, HasTheDeviationsItSays) {
  const auto tensors = Drawn(SomeShape(2), 1);
  EXPECT_NEAR(Deviation(tensors.at("tok_embed")), 0.5 / std::sqrt(32), 0.01);
  EXPECT_NEAR(Deviation(tensors.at("layers.0.attn.wq")), 0.5 / std::sqrt(32), 0.01);
  EXPECT_NEAR(Deviation(tensors.at("layers.1.attn.wo")), 0.25 / std::sqrt(32), 0.005);
  EXPECT_NEAR(Deviation(tensors.at("layers.1.mlp.w2")), 0.25 / std::sqrt(48), 0.005);
  EXPECT_NEAR(Deviation(tensors.at("readout")), 0.5 / std::sqrt(32), 0.01);
  for (const auto& [name, want] : {std::pair{"layers.0.norm1.gain", 1.0},
                                   {"final_norm.gain", 1.0},
                                   {"layers.1.mlp.unit_bias", 1.0},
                                   {"layers.0.attn.bq", 0.0},
                                   {"layers.0.mlp.b2", 0.0}}) {
    for (const double x : tensors.at(name)) EXPECT_EQ(x, want) << name;
  }
}

TEST(TransformerInit, ATensorIsTheSameInADeeperModel) {
  const auto shallow = Drawn(SomeShape(1), 1), deep = Drawn(SomeShape(3), 1);
  EXPECT_EQ(shallow.at("layers.0.attn.wq"), deep.at("layers.0.attn.wq"));
  EXPECT_EQ(shallow.at("readout"), deep.at("readout"));
}

TEST(TransformerInit, TensorsAndSeedsDiffer) {
  const auto one = Drawn(SomeShape(2), 1), other = Drawn(SomeShape(2), 2);
  EXPECT_NE(one.at("layers.0.attn.wq"), other.at("layers.0.attn.wq"));
  EXPECT_NE(one.at("layers.0.attn.wq"), one.at("layers.0.attn.wk"));
  EXPECT_NE(one.at("layers.0.attn.wq"), one.at("layers.1.attn.wq"));
}

}  // namespace
}  // namespace saffron
