#include "core/transformer/shape_json.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace saffron {
namespace {

using testing::HasSubstr;

TransformerShape SomeShape() {
  TransformerShape shape;
  shape.vocab = 30;
  shape.width = 12;
  shape.context = 8;
  shape.mlp = MlpKind::kGeglu;
  shape.mlp_unit_bias = MlpUnitBias::kAdditive;
  shape.tied = false;
  shape.final_epsilon = 1e-5 / 3;
  const TransformerLayerShape layer = {.heads = 4,
                                       .kv_heads = 2,
                                       .key_dim = 6,
                                       .value_dim = 5,
                                       .mlp_width = 7,
                                       .norm1_epsilon = 1e-6,
                                       .norm2_epsilon = 1e-5 / 7,
                                       .rope_frequencies = RopeFrequencies(6)};
  shape.layers = {layer, layer};
  shape.layers[1].mlp_width = 9;
  shape.layers[1].moe = {.experts = 4,
                         .top = 1,
                         .capacity_factor = 1.0 / 3 + 1,
                         .eval_capacity_factor = 3,
                         .gates = MoeGates::kAll,
                         .second = SecondPolicy::kThreshold,
                         .threshold = 0.3,
                         .slots = SlotOrder::kChoiceMajor,
                         .dense = DensePlace::kAfter};
  return shape;
}

TEST(ShapeJson, ReadsBackEveryField) {
  const TransformerShape shape = SomeShape();
  const auto read = ParseShapeJson(ShapeJson(shape));
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_EQ(ShapeJson(*read), ShapeJson(shape));
  EXPECT_EQ(read->final_epsilon, shape.final_epsilon);
  EXPECT_EQ(read->layers[1].norm2_epsilon, shape.layers[1].norm2_epsilon);
  EXPECT_EQ(read->layers[0].rope_frequencies, shape.layers[0].rope_frequencies);
  EXPECT_EQ(read->layers[1].mlp_width, 9);
  EXPECT_EQ(read->mlp, MlpKind::kGeglu);
  EXPECT_FALSE(read->layers[0].moe.sparse());
  EXPECT_EQ(read->layers[1].moe.capacity_factor, shape.layers[1].moe.capacity_factor);
  EXPECT_EQ(read->layers[1].moe.second, SecondPolicy::kThreshold);
  EXPECT_EQ(read->layers[1].moe.dense, DensePlace::kAfter);
  EXPECT_EQ(read->mlp_unit_bias, MlpUnitBias::kAdditive);
  EXPECT_FALSE(read->tied);
  EXPECT_EQ(LayOut(*read).size, LayOut(shape).size);
}

TEST(ShapeJson, KnowsEveryKind) {
  for (const MlpKind mlp :
       {MlpKind::kRelu, MlpKind::kGelu, MlpKind::kGeluTanh, MlpKind::kGeglu, MlpKind::kSwiglu}) {
    TransformerShape shape = SomeShape();
    shape.mlp = mlp;
    EXPECT_EQ(ParseShapeJson(ShapeJson(shape))->mlp, mlp);
  }
}

// With `from` replaced by `to`.
std::string Refusal(const std::string& from, const std::string& to) {
  std::string text = ShapeJson(SomeShape());
  const size_t at = text.find(from);
  EXPECT_NE(at, std::string::npos) << from;
  const auto read = ParseShapeJson(text.replace(at, from.size(), to));
  EXPECT_EQ(read.status().code(), absl::StatusCode::kInvalidArgument) << from << " " << to;
  return std::string(read.status().message());
}

TEST(ShapeJson, ErrorsQuoteNoHalfCharacter) {
  std::string word = "a";
  for (int i = 0; i < 30; ++i) word += "\xC3\xA9";
  for (const char c : Refusal("geglu", word)) EXPECT_GE(c, ' ');
}

TEST(ShapeJson, ErrorsNameTheField) {
  EXPECT_THAT(Refusal("\"width\":12", "\"width\":1.5"), HasSubstr("width: want a whole number"));
  EXPECT_THAT(Refusal("\"width\":12", "\"width\":-12"), HasSubstr("width: want a whole number"));
  EXPECT_THAT(Refusal("\"width\":12", "\"width\":1e300"), HasSubstr("width"));
  EXPECT_THAT(Refusal("\"width\":12", "\"breadth\":12"), HasSubstr("no field width"));
  EXPECT_THAT(Refusal("\"geglu\"", "\"gelo\""), HasSubstr("mlp: want one of relu, gelu"));
  EXPECT_THAT(Refusal("\"tied\":false", "\"tied\":0"), HasSubstr("tied: want true or false"));
  EXPECT_THAT(Refusal("\"value_dim\":5", "\"value_dim\":null"), HasSubstr("layers.0.value_dim"));
  EXPECT_THAT(Refusal("\"rope_frequencies\":[1.0", "\"rope_frequencies\":[-1.0"),
              HasSubstr("layers.0.rope_frequencies: want a list of numbers above 0"));
  EXPECT_THAT(Refusal("\"kv_heads\":2", "\"kv_heads\":3"), HasSubstr("want a divisor of heads"));
  EXPECT_THAT(Refusal("\"top\":1", "\"top\":5"), HasSubstr("layers.1.top: want 1 to 4"));
  EXPECT_THAT(Refusal("\"slots\":\"choice_major\"", "\"slots\":3"),
              HasSubstr("layers.1.moe.slots: want one of token_major"));
  EXPECT_THAT(Refusal("\"heads\":4", "\"heads\":2000000000"), HasSubstr("more than any model's"));
  EXPECT_THAT(Refusal("\"width\":12", "\"width\":2000000000"), HasSubstr("more than any model's"));
  EXPECT_EQ(ParseShapeJson("").status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(ParseShapeJson("[1]").status().code(), absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace saffron
