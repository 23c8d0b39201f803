// Logits that are shown before the softmax, for another model to add to.

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "core/base/random.h"
#include "core/layers/saffu_layer.h"
#include "core/math/exp.h"
#include "tests/unit/core_layers/saffu_fixture.h"

namespace saffron {
namespace {

constexpr int kVocab = 71;  // no whole number of blocks

class SaffuShownTest : public testing::Test {
 protected:
  static std::unique_ptr<SaffuNetwork<double>> Make(NetworkSpec spec, ParameterTensor beside = {}) {
    const auto features = MakeFeatures(kVocab, 9, /*noisy=*/false);
    return SaffuNetwork<double>::Create(MakeLayers(spec, *features, 7), features,
                                        {.chunk = 16, .beside = std::move(beside)})
        .value();
  }
  static std::vector<double> Gradient(SaffuNetwork<double>& network) {
    const auto gradient = network.arena().gradients();
    return {gradient.begin(), gradient.end()};
  }

  const std::vector<int32_t> stream_ = MakeStream(kVocab, 60, 7);
  const std::vector<int64_t> positions_ = {40, 1,  2,  5,  5, 17, 33, 12, 59, 58,
                                           57, 20, 21, 22, 9, 8,  7,  50, 30, 31};
};

TEST_F(SaffuShownTest, LogitsThatNobodyChangesGiveTheSameLossAndGradient) {
  for (const int layers : {1, 2}) {
    const auto network = Make({.streams = "xxcr", .bias = true, .layers = layers});
    const double loss = network->LossAndGradient(stream_, positions_);
    const std::vector<double> gradient = Gradient(*network);
    EXPECT_NEAR(network->LossAndGradient(stream_, positions_, [](int64_t, double*) {}), loss,
                1e-12);
    const std::vector<double> shown = Gradient(*network);
    for (size_t i = 0; i < gradient.size(); ++i) ASSERT_NEAR(shown[i], gradient[i], 1e-12) << i;
  }
}

TEST_F(SaffuShownTest, TheGradientIsThatOfTheLossWithAnothersLogits) {
  const auto network = Make({.streams = "xxc", .layers = 2});
  const auto add = [](int64_t t, double* z) {
    for (int i = 0; i < kVocab; ++i) z[i] += std::sin(static_cast<double>(i + t));
  };
  const auto loss = [&] { return network->LossAndGradient(stream_, positions_, add); };
  EXPECT_NE(loss(), network->LossAndGradient(stream_, positions_));
  loss();
  const std::vector<double> gradient = Gradient(*network);
  const CounterRandom random(1, RandomPurpose::kTest);
  for (const ParameterTensor& tensor : network->arena().tensors()) {
    for (uint64_t draw = 0; draw < 12; ++draw) {
      const auto place = static_cast<size_t>(
          tensor.at(static_cast<int64_t>(random.Below(2 * draw, tensor.rows)),
                    static_cast<int64_t>(random.Below(2 * draw + 1, tensor.cols))));
      double& parameter = network->arena().parameters()[place];
      const double kept = parameter;
      parameter = kept + 1e-5;
      const double above = loss();
      parameter = kept - 1e-5;
      const double below = loss();
      parameter = kept;
      ASSERT_NEAR(gradient[place], (above - below) / 2e-5, 1e-8) << tensor.name;
    }
  }
}

TEST_F(SaffuShownTest, ShowsTheLogitsOfTheLossInAscendingOrder) {
  const auto network = Make({});
  std::vector<int64_t> sorted = positions_;
  std::sort(sorted.begin(), sorted.end());
  std::vector<int64_t> shown;
  double nats = 0;
  network->VisitLogits(stream_, sorted, [&](int64_t t, double* z) {
    shown.push_back(t);
    nats += LogSumExp(z, kVocab) - z[stream_[t]];
  });
  EXPECT_EQ(shown, sorted);
  EXPECT_NEAR(nats / static_cast<double>(sorted.size()), network->Loss(stream_, sorted), 1e-12);
}

TEST_F(SaffuShownTest, KeepsRoomForAVectorThatIsTrainedAlong) {
  const auto without = Make({}), with = Make({}, {.name = "guest", .cols = 3});
  EXPECT_EQ(with->arena().parameters().size(), without->arena().parameters().size() + 3);
  EXPECT_EQ(with->num_parameters(), without->num_parameters());
  with->arena().gradients().back() = 1;
  with->LossAndGradient(stream_, positions_);
  for (const double g : with->arena().gradients().last(3)) EXPECT_EQ(g, 0);
}

}  // namespace
}  // namespace saffron
