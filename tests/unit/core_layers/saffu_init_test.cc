#include "core/layers/saffu_init.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "core/layers/saffu_layer.h"
#include "tests/unit/core_layers/saffu_fixture.h"

namespace saffron {
namespace {

std::vector<SaffuLayerShape> Shapes() {
  const auto features = MakeFeatures(150, 40, false);
  std::vector<SaffuLayerShape> shapes;
  for (const auto& layer : MakeLayers({.streams = "xxc", .layers = 2}, *features, 1)) {
    shapes.push_back(layer.shape);
  }
  return shapes;
}

double Deviation(const std::vector<float>& u) {
  double sum = 0;
  for (const float v : u) sum += double{v} * v;
  return std::sqrt(sum / static_cast<double>(u.size()));
}

TEST(RandomSaffu, IsAFunctionOfTheSeed) {
  const auto one = RandomSaffuParams(Shapes(), 5), again = RandomSaffuParams(Shapes(), 5);
  const auto other = RandomSaffuParams(Shapes(), 6);
  for (size_t l = 0; l < one.size(); ++l) {
    EXPECT_EQ(one[l].u, again[l].u);
    EXPECT_NE(one[l].u, other[l].u);
  }
  EXPECT_NE(one[0].u[0] * 0.1f, one[1].u[0]) << "layers must not share their draws";
}

TEST(RandomSaffu, HasTheDocumentedScales) {
  const auto layers = RandomSaffuParams(Shapes(), 5);
  EXPECT_NEAR(Deviation(layers[0].u), 0.1, 0.003);
  EXPECT_NEAR(Deviation(layers[1].u), 0.01, 0.0003);
  for (const auto& layer : layers) {
    EXPECT_EQ(layer.gain, 2.0f * static_cast<float>(layer.shape.num_keys()));
    for (const float v : layer.beta) EXPECT_EQ(v, 0);
    for (const float v : layer.w) EXPECT_EQ(v, 0);
    EXPECT_TRUE(layer.bias.empty());
  }
}

TEST(RandomSaffu, StartsNearUniformAndTrains) {
  const auto features = MakeFeatures(150, 40, false);
  const auto stream = MakeStream(150, 400, 3);
  auto network = SaffuNetwork<float>::Create(RandomSaffuParams(Shapes(), 5), features, {}).value();
  EXPECT_NEAR(network->Evaluate(stream, 0).nats_per_target(), std::log(150), 0.05);
  std::vector<int64_t> positions(400);
  for (int i = 0; i < 400; ++i) positions[i] = i;
  const double before = network->LossAndGradient(stream, positions);
  for (int step = 0; step < 20; ++step) {
    network->LossAndGradient(stream, positions);
    const auto gradient = network->arena().gradients();
    auto parameters = network->arena().parameters();
    for (size_t i = 0; i < parameters.size(); ++i) parameters[i] -= 2 * gradient[i];
  }
  EXPECT_LT(network->Loss(stream, positions), before - 0.3);
}

}  // namespace
}  // namespace saffron
