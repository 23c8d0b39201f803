// Central differences in double against the backward pass, for every group of parameters of every
// kind of network.

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

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

// The largest difference between gradient and central difference over (at most `samples` of) the
// numbers of `member`, relative to the largest gradient among them.
template <typename Member>
double RelativeError(const std::vector<SaffuLayerParams<double>>& layers, size_t layer,
                     Member member, const std::vector<double>& gradient,
                     const std::shared_ptr<const FeatureTables>& features,
                     const std::vector<int32_t>& stream, const std::vector<int64_t>& positions) {
  constexpr int kSamples = 24;
  constexpr double kStep = 1e-5;
  double largest = 0, error = 0;
  const CounterRandom random(layer, RandomPurpose::kTest, 5);
  const int count = std::min<int>(kSamples, static_cast<int>(gradient.size()));
  for (int s = 0; s < count; ++s) {
    const size_t i = count < kSamples ? s : random.Below(s, gradient.size());
    double loss[2];
    for (const int side : {0, 1}) {
      std::vector<SaffuLayerParams<double>> moved = layers;
      (moved[layer].*member)[i] += side == 0 ? kStep : -kStep;
      loss[side] = SaffuNetwork<double>::Create(moved, features, {.chunk = 16})
                       .value()
                       ->Loss(stream, positions);
    }
    const double difference = (loss[0] - loss[1]) / (2 * kStep);
    error = std::max(error, std::abs(difference - gradient[i]));
    largest = std::max(largest, std::abs(gradient[i]));
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
  // Reads the gradient out through Layer(), which knows the kernels' order.
  auto& arena = network->arena();
  std::copy(arena.gradients().begin(), arena.gradients().end(), arena.parameters().begin());
  for (size_t l = 0; l < layers.size(); ++l) {
    using Params = SaffuLayerParams<double>;
    const Params gradient = network->Layer(static_cast<int>(l));
    const auto error = [&](auto member) {
      return RelativeError(layers, l, member, gradient.*member, features, stream, positions);
    };
    EXPECT_LE(error(&Params::u), 1e-6) << "U of layer " << l;
    // A single static key has weight 1 whatever its score.
    const bool trivial = layers[l].shape.num_keys() == 1;
    if (!trivial) {
      EXPECT_LE(error(&Params::beta), 1e-6) << "beta of layer " << l;
    } else {
      EXPECT_EQ(gradient.beta[0], 0);
    }
    if (c.spec.attention && !trivial) {
      EXPECT_LE(error(&Params::w), 1e-6) << "W of layer " << l;
    }
    if (c.spec.bias) {
      EXPECT_LE(error(&Params::bias), 1e-6) << "bias of layer " << l;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Networks, SaffuGradient, testing::ValuesIn(AllCases()),
                         [](const auto& info) { return info.param.name; });

}  // namespace
}  // namespace saffron
