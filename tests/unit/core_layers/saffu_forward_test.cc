#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "core/layers/saffu_layer.h"
#include "tests/unit/core_layers/saffu_fixture.h"

namespace saffron {
namespace {

using testing::HasSubstr;

constexpr int kVocab = 150;

std::vector<int64_t> Range(int64_t begin, int64_t end) {
  std::vector<int64_t> positions(end - begin);
  std::iota(positions.begin(), positions.end(), begin);
  return positions;
}

std::vector<NetworkSpec> SomeSpecs() {
  return {{.streams = "xxxxc"},
          {.streams = "xxc", .head = Head::kSum, .bias = true},
          {.streams = "xcr", .attention = false},
          {.streams = "xc", .layers = 2},
          {.streams = "xr", .head = Head::kSum, .bias = true, .layers = 3}};
}

// Sum of -log p(target), and how many targets lead, by the definition.
Evaluation PlainEvaluation(const std::vector<SaffuLayerParams<double>>& layers,
                           const FeatureTables& features, const std::vector<int32_t>& stream,
                           int64_t first) {
  Evaluation result;
  for (int64_t t = first; t < static_cast<int64_t>(stream.size()); ++t) {
    const auto log_p = PlainLogProbabilities(layers, features, stream, t);
    result.targets += 1;
    result.nats -= log_p[stream[t]];
    result.correct += std::ranges::max_element(log_p) - log_p.begin() == stream[t];
  }
  return result;
}

TEST(SaffuForward, EqualsTheDefinition) {
  for (const int bits : {10, 40}) {  // dense and sparse paths
    const auto features = MakeFeatures(kVocab, bits, false);
    const auto stream = MakeStream(kVocab, 50, 3);
    for (const NetworkSpec& spec : SomeSpecs()) {
      const auto layers = MakeLayers(spec, *features, 5);
      const Evaluation want = PlainEvaluation(layers, *features, stream, 0);
      auto network = SaffuNetwork<double>::Create(layers, features, {.chunk = 17}).value();
      EXPECT_NEAR(network->Loss(stream, Range(0, 50)), want.nats_per_target(), 1e-12);
      EXPECT_NEAR(network->LossAndGradient(stream, Range(0, 50)), want.nats_per_target(), 1e-12);
      const Evaluation got = network->Evaluate(stream, 0);
      EXPECT_EQ(got.targets, 50);
      EXPECT_NEAR(got.nats, want.nats, 1e-10);
      EXPECT_EQ(got.correct, want.correct);
      auto single = SaffuNetwork<float>::Create(ToFloat(layers), features, {}).value();
      EXPECT_NEAR(single->Evaluate(stream, 0).nats, want.nats, 2e-5 * want.nats);
    }
  }
}

TEST(SaffuForward, SinglePrecisionGradientsAgreeWithDouble) {
  const auto features = MakeFeatures(kVocab, 40, false);
  const auto stream = MakeStream(kVocab, 300, 3);
  for (const NetworkSpec& spec : SomeSpecs()) {
    const auto layers = MakeLayers(spec, *features, 5);
    auto exact = SaffuNetwork<double>::Create(layers, features, {}).value();
    auto single = SaffuNetwork<float>::Create(ToFloat(layers), features, {}).value();
    exact->LossAndGradient(stream, Range(10, 300));
    single->LossAndGradient(stream, Range(10, 300));
    std::ranges::copy(exact->arena().gradients(), exact->arena().parameters().begin());
    std::ranges::copy(single->arena().gradients(), single->arena().parameters().begin());
    for (int l = 0; l < exact->num_layers(); ++l) {
      const auto want = exact->Layer(l);
      const auto got = single->Layer(l);
      for (const auto& [w, g] : {std::pair{&want.u, &got.u},
                                 {&want.w, &got.w},
                                 {&want.beta, &got.beta},
                                 {&want.bias, &got.bias}}) {
        double error = 0, norm = 0;
        for (size_t i = 0; i < w->size(); ++i) {
          error += std::pow((*w)[i] - (*g)[i], 2);
          norm += std::pow((*w)[i], 2);
        }
        EXPECT_LE(std::sqrt(error), 1e-4 * std::sqrt(norm)) << "layer " << l;
      }
    }
  }
}

TEST(SaffuForward, SameInputsGiveTheSameBitsWhateverWentBefore) {
  const auto features = MakeFeatures(kVocab, 40, false);
  const auto stream = MakeStream(kVocab, 300, 3);
  for (const NetworkSpec& spec : SomeSpecs()) {
    const auto layers = ToFloat(MakeLayers(spec, *features, 5));
    auto fresh = SaffuNetwork<float>::Create(layers, features, {.chunk = 64}).value();
    auto used = SaffuNetwork<float>::Create(layers, features, {.chunk = 64}).value();
    used->LossAndGradient(stream, Range(100, 300));
    used->Evaluate(stream, 20);
    EXPECT_EQ(fresh->LossAndGradient(stream, Range(0, 150)),
              used->LossAndGradient(stream, Range(0, 150)));
    EXPECT_TRUE(std::ranges::equal(fresh->arena().gradients(), used->arena().gradients()));
  }
}

TEST(SaffuForward, LayerReturnsWhatCreateWasGiven) {
  const auto features = MakeFeatures(kVocab, 10, false);
  for (const NetworkSpec& spec : SomeSpecs()) {
    const auto layers = MakeLayers(spec, *features, 5);
    auto network = SaffuNetwork<double>::Create(layers, features, {.train = false}).value();
    int64_t count = 0;
    for (size_t l = 0; l < layers.size(); ++l) {
      const auto layer = network->Layer(static_cast<int>(l));
      EXPECT_EQ(layer.u, layers[l].u);
      EXPECT_EQ(layer.w, layers[l].w);
      EXPECT_EQ(layer.beta, layers[l].beta);
      EXPECT_EQ(layer.bias, layers[l].bias);
      EXPECT_EQ(layer.gain, layers[l].gain);
      count += static_cast<int64_t>(layer.u.size() + layer.w.size() + layer.beta.size() +
                                    layer.bias.size());
    }
    EXPECT_EQ(network->num_parameters(), count);
  }
}

TEST(SaffuForward, EqualLogitsHaveTheLowestIdLead) {
  const auto features = MakeFeatures(kVocab, 10, false);
  auto layers = MakeLayers({.streams = "xx"}, *features, 5);
  std::ranges::fill(layers[0].u, 0.0);
  const std::vector<int32_t> stream = {5, 0, 7, 0, 149, 1};
  const Evaluation result =
      SaffuNetwork<double>::Create(layers, features, {}).value()->Evaluate(stream, 0);
  EXPECT_EQ(result.correct, 2);
  EXPECT_NEAR(result.nats_per_target(), std::log(kVocab), 1e-12);
}

TEST(SaffuForward, HugeLogitsDoNotOverflow) {
  const auto features = MakeFeatures(kVocab, 40, false);
  auto layers = MakeLayers({.streams = "xxc"}, *features, 5);
  for (double& u : layers[0].u) u *= 1000;
  const auto stream = MakeStream(kVocab, 80, 3);
  const Evaluation want = PlainEvaluation(layers, *features, stream, 0);
  auto single = SaffuNetwork<float>::Create(ToFloat(layers), features, {}).value();
  EXPECT_NEAR(single->Evaluate(stream, 0).nats, want.nats, 1e-5 * want.nats);
  EXPECT_NEAR(single->LossAndGradient(stream, Range(0, 80)), want.nats_per_target(),
              1e-5 * want.nats_per_target());
  for (const float g : single->arena().gradients()) ASSERT_TRUE(std::isfinite(g));
}

TEST(SaffuForward, ANanParameterShowsInTheLoss) {
  const auto features = MakeFeatures(kVocab, 40, false);
  auto layers = ToFloat(MakeLayers({.streams = "xxc"}, *features, 5));
  const auto stream = MakeStream(kVocab, 80, 3);
  layers[0].u[3 * kVocab + 70] = std::numeric_limits<float>::quiet_NaN();
  auto network = SaffuNetwork<float>::Create(layers, features, {}).value();
  EXPECT_FALSE(std::isfinite(network->LossAndGradient(stream, Range(0, 80))));
}

TEST(SaffuForward, LayersThatDoNotFitAreRefusedByName) {
  const auto features = MakeFeatures(kVocab, 10, false);
  const auto message = [&](auto change) {
    auto layers = MakeLayers({.streams = "xc", .layers = 2}, *features, 5);
    change(layers);
    return std::string(SaffuNetwork<double>::Create(layers, features, {}).status().message());
  };
  EXPECT_THAT(message([](auto& l) { l[0].shape.keys[1].dim = 11; }),
              HasSubstr("layer 0, key 1: want the width of context rows, 10, got 11"));
  EXPECT_THAT(message([](auto& l) { l[1].shape.keys.resize(2); }),
              HasSubstr("layer 1: no key reads the layer below"));
  EXPECT_THAT(message([](auto& l) { l[1].u.pop_back(); }), HasSubstr("layer 1: want U of size"));
  EXPECT_THAT(message([](auto& l) { l[0].beta.clear(); }), HasSubstr("beta of size 2, got 0"));
  EXPECT_THAT(message([](auto& l) { l[0].gain = -1; }), HasSubstr("positive gain"));
  EXPECT_THAT(message([](auto& l) { l.erase(l.begin()); }), HasSubstr("there is none"));
  EXPECT_THAT(message([](auto& l) { l.pop_back(); }), HasSubstr("one output a type, 150, got 13"));
  EXPECT_THAT(message([](auto& l) { l[0].shape.head = Head::kSum, l[0].shape.keys[0].lag = 0; }),
              HasSubstr("a lag of at least 1, got 0"));
}

}  // namespace
}  // namespace saffron
