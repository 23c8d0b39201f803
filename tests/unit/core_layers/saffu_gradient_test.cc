// Central differences in double against the backward pass, for every group of parameters of every
// kind of network.

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "core/base/random.h"
#include "core/layers/saffu_layer.h"
#include "tests/unit/core_layers/saffu_fixture.h"

namespace saffron {
namespace {

constexpr int kVocab = 71, kBits = 9;

struct Case {
  std::string name;
  NetworkSpec spec;
  bool noisy = false;  // dense cipher rows
  int bits = kBits;    // from 32 on, cipher rows count as sparse
};

std::vector<Case> AllCases() {
  std::vector<Case> cases;
  for (const Head head : {Head::kConcat, Head::kSum}) {
    for (const bool attention : {true, false}) {
      for (const bool bias : {false, true}) {
        for (const int layers : {1, 2, 3}) {
          for (const std::string streams : {"x", "xxx", "xxc", "xcr"}) {
            std::string name = head == Head::kConcat ? "concat" : "sum";
            name += attention ? "_attention" : "_static";
            name += bias ? "_bias_" : "_";
            name += streams + "_layers" + std::to_string(layers);
            cases.push_back({name,
                             {.streams = streams,
                              .head = head,
                              .attention = attention,
                              .bias = bias,
                              .layers = layers}});
          }
        }
      }
    }
  }
  cases.push_back({"sparse_codes", {.streams = "xxxcr"}, false, 32});
  cases.push_back({"sparse_codes_sum", {.streams = "xxxcr", .head = Head::kSum}, false, 32});
  cases.push_back({"sparse_codes_two_layers", {.streams = "xxc", .layers = 2}, false, 32});
  cases.push_back({"noisy_codes", {.streams = "xxc"}, true});
  cases.push_back({"query_from_below", {.streams = "xc", .layers = 3, .query_lower = true}});
  cases.push_back({"static_query_from_below",
                   {.streams = "xc", .attention = false, .layers = 2, .query_lower = true}});
  return cases;
}

class SaffuGradient : public testing::TestWithParam<Case> {};

std::vector<int64_t> SomePositions(int size) {
  // The first ones reach before the stream's start; some occur twice.
  std::vector<int64_t> positions = {0, 1, 2, 5, 5};
  const CounterRandom random(21, RandomPurpose::kTest);
  for (int i = 0; i < 20; ++i) positions.push_back(static_cast<int64_t>(random.Below(i, size)));
  return positions;
}

// The largest difference between the gradient and central differences over (at most kSamples of)
// the parameters at `places` of the arena, relative to the largest gradient among them.
double RelativeError(SaffuNetwork<double>& network, const std::vector<double>& places,
                     const std::vector<double>& gradient, const std::vector<int32_t>& stream,
                     const std::vector<int64_t>& positions) {
  constexpr size_t kSamples = 24;
  constexpr double kStep = 1e-5;
  double largest = 0, error = 0;
  const CounterRandom random(1, RandomPurpose::kTest, 5);
  for (size_t s = 0; s < std::min(kSamples, places.size()); ++s) {
    const size_t i = places.size() <= kSamples ? s : random.Below(s, places.size());
    const size_t place = static_cast<size_t>(places[i]);
    double& parameter = network.arena().parameters()[place];
    const double kept = parameter;
    parameter = kept + kStep;
    const double above = network.Loss(stream, positions);
    parameter = kept - kStep;
    const double below = network.Loss(stream, positions);
    parameter = kept;
    const double difference = std::abs((above - below) / (2 * kStep) - gradient[place]);
    if (!(difference <= error)) error = difference;  // a NaN too
    largest = std::max(largest, std::abs(gradient[place]));
  }
  return largest > 0 ? error / largest : 1;
}

TEST_P(SaffuGradient, EqualsCentralDifferences) {
  const Case& c = GetParam();
  const auto features = MakeFeatures(kVocab, c.bits, c.noisy);
  const auto layers = MakeLayers(c.spec, *features, 7);
  const auto stream = MakeStream(kVocab, 60, 7);
  const auto positions = SomePositions(60);
  // Chunks of 16 of 25 targets: the gradient is made of two.
  auto network = SaffuNetwork<double>::Create(layers, features, {.chunk = 16}).value();
  network->LossAndGradient(stream, positions);
  const std::vector<double> gradient(network->arena().gradients().begin(),
                                     network->arena().gradients().end());
  // A network whose every parameter is its own place in the arena.
  auto places = SaffuNetwork<double>::Create(layers, features, {.train = false}).value();
  std::iota(places->arena().parameters().begin(), places->arena().parameters().end(), 0.0);
  for (int l = 0; l < network->num_layers(); ++l) {
    const SaffuLayerParams<double> at = places->Layer(l);
    const auto error = [&](const std::vector<double>& group) {
      return RelativeError(*network, group, gradient, stream, positions);
    };
    EXPECT_LE(error(at.u), 1e-6) << "U of layer " << l;
    if (at.shape.num_keys() == 1) {
      EXPECT_EQ(gradient[static_cast<size_t>(at.beta[0])], 0) << "a lone key always has weight 1";
    } else {
      EXPECT_LE(error(at.beta), 1e-6) << "beta of layer " << l;
      if (c.spec.attention) {
        EXPECT_LE(error(at.w), 1e-6) << "W of layer " << l;
      }
    }
    if (c.spec.bias) {
      EXPECT_LE(error(at.bias), 1e-6) << "bias of layer " << l;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Networks, SaffuGradient, testing::ValuesIn(AllCases()),
                         [](const auto& info) { return info.param.name; });

}  // namespace
}  // namespace saffron
