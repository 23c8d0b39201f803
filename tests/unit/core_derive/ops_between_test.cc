// Operators found from what two shapes differ in.

#include "core/derive/ops_between.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/derive/expansion.h"
#include "tests/unit/core_derive/models.h"

namespace saffron {
namespace {

using testing::HasSubstr;

TransformerShape Uniform() {
  TransformerShape shape = BaseShape();
  shape.layers[1] = shape.layers[0];
  SetPositions(shape, PositionKind::kRope);
  return shape;
}

std::string TextBetween(const TransformerShape& from, const TransformerShape& to) {
  const auto ops = OpsBetween(from, to);
  EXPECT_TRUE(ops.ok()) << ops.status();
  return ops.ok() ? DeriveOpsText(*ops) : "";
}

TEST(OpsBetween, EqualSizesNeedNone) { EXPECT_EQ(TextBetween(Uniform(), Uniform()), ""); }

TEST(OpsBetween, EverySizeIsGrownInTheDocumentedOrder) {
  TransformerShape to = Uniform();
  to.width = 10;
  for (TransformerLayerShape& layer : to.layers) {
    layer.heads = layer.kv_heads = 4;
    layer.key_dim = 8;
    layer.value_dim = 5;
    layer.mlp_width = 9;
  }
  to.layers.push_back(to.layers[0]);
  to.layers[2].moe.experts = 3;
  EXPECT_EQ(TextBetween(Uniform(), to),
            "hidden:10,heads:4,key:8,value:5,mlp:9,layers:3,experts:3@2");
}

TEST(OpsBetween, LayersOfDifferentSizesGrowApart) {
  TransformerShape to = Uniform();
  to.layers[0].mlp_width = 7;
  to.layers[1].mlp_width = 6;
  EXPECT_EQ(TextBetween(Uniform(), to), "mlp:6@1,mlp:7@0");
}

TEST(OpsBetween, ANewLayerGrowsFromTheOneBelowIt) {
  TransformerShape to = Uniform();
  to.layers[1].mlp_width = 6;
  to.layers.push_back(to.layers[1]);
  to.layers[2].mlp_width = 8;
  EXPECT_EQ(TextBetween(Uniform(), to), "mlp:6@1,layers:3,mlp:8@2");
}

TEST(OpsBetween, WhatWouldShrinkOrIsNotExactIsRefused) {
  TransformerShape to = Uniform();
  to.layers[0].mlp_width = 3;
  EXPECT_THAT(std::string(OpsBetween(Uniform(), to).status().message()),
              HasSubstr("mlp:3@0: layers.0.mlp_width is 5: want more, got 3"));
  TransformerShape from = Uniform();
  from.norm = NormKind::kLayer;
  to = from;
  to.width = 8;
  EXPECT_THAT(std::string(OpsBetween(from, to).status().message()),
              HasSubstr("not exact under LayerNorm"));
}

}  // namespace
}  // namespace saffron
