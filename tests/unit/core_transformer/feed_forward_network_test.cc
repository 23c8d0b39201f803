#include "core/transformer/feed_forward_network.h"

#include <cmath>

#include "core/base/random.h"
#include "core/math/exp.h"
#include "gtest/gtest.h"
#include "tests/unit/core_transformer/compare.h"

namespace saffron {
namespace {

constexpr int kVocab = 11;

class FeedForwardNetworkTest : public testing::Test {
 protected:
  // 250 rows: more than a chunk of them, none of which a block of logits divides.
  static constexpr int kRows = 250, kContext = 3;

  FeedForwardNetworkTest() {
    for (uint64_t i = 0; i < kRows * kContext; ++i) {
      contexts_.push_back(static_cast<int32_t>(random_.Below(i, kVocab + 1)) - 1);
    }
    for (uint64_t i = 0; i < kRows; ++i) {
      targets_.push_back(static_cast<int32_t>(random_.Below(10'000 + i, kVocab)));
    }
  }
  template <typename T>
  std::unique_ptr<FeedForwardNetwork<T>> Make(bool tied,
                                              typename FeedForwardNetwork<T>::Options options) {
    auto network = FeedForwardNetwork<T>::Create(
        {.vocab = kVocab, .context = kContext, .width = 5, .layers = 2, .hidden = 7, .tied = tied},
        options);
    EXPECT_TRUE(network.ok());
    return *std::move(network);
  }

  CounterRandom random_{9, RandomPurpose::kTest};
  std::vector<int32_t> contexts_, targets_;
};

TEST_F(FeedForwardNetworkTest, TheGradientIsThatOfTheLossWithAnothersLogits) {
  for (const bool tied : {true, false}) {
    const auto network = Make<double>(tied, {.dropout = 0.2});
    const absl::Span<double> p = network->arena().parameters();
    for (size_t i = 0; i < p.size(); ++i) p[i] += 0.2 * random_.Normal(5000 + i);
    const auto offset = [](int64_t first, int64_t rows, Rows<double> z) {
      for (int64_t r = 0; r < rows; ++r) {
        for (int i = 0; i < kVocab; ++i) z.row(r)[i] += 0.01 * (first + r) * std::sin(i);
      }
    };
    const auto loss = [&] { return network->LossAndGradient(contexts_, targets_, 2, offset); };
    loss();
    const std::vector<double> gradient(network->arena().gradients().begin(),
                                       network->arena().gradients().end());
    ExpectGradient(gradient, p, 3, 1e-4, loss);
    if (HasFatalFailure()) return;
  }
}

TEST_F(FeedForwardNetworkTest, TheLossIsThatOfTheLogitsItShows) {
  const auto network = Make<double>(true, {});
  double nats = 0;
  int64_t next = 0;
  network->VisitLogits(contexts_, [&](int64_t first, int64_t rows, Rows<double> z) {
    EXPECT_EQ(first, next);
    next = first + rows;
    for (int64_t r = 0; r < rows; ++r) {
      nats += LogSumExp(z.row(r), kVocab) - z.row(r)[targets_[first + r]];
    }
  });
  EXPECT_EQ(next, kRows);
  EXPECT_NEAR(network->LossAndGradient(contexts_, targets_, 0, nullptr), nats / kRows, 1e-12);
}

TEST_F(FeedForwardNetworkTest, ReadsTheTokensInTheirOrder) {
  const auto network = Make<float>(true, {});
  const auto logit = [&](std::vector<int32_t> context) {
    float z0 = 0;
    network->VisitLogits(context, [&](int64_t, int64_t, Rows<float> z) { z0 = z.row(0)[0]; });
    return z0;
  };
  EXPECT_EQ(logit({1, 2, 3}), logit({1, 2, 3}));
  EXPECT_NE(logit({1, 2, 3}), logit({3, 2, 1}));
  EXPECT_NE(logit({1, 2, 3}), logit({1, 2, -1}));
}

TEST_F(FeedForwardNetworkTest, KeepsRoomForAVectorThatIsTrainedAlong) {
  const auto network = Make<float>(false, {.beside = {.name = "guest", .cols = 3}});
  EXPECT_EQ(network->arena().parameters().size(), network->parameters() + 3u);
  EXPECT_EQ(network->arena().tensors().back().begin, network->parameters());
  network->LossAndGradient(contexts_, targets_, 0, nullptr);
  for (const float g : network->arena().gradients().last(3)) EXPECT_EQ(g, 0);
}

}  // namespace
}  // namespace saffron
