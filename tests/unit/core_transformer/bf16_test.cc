// Products in bfloat16: close to those in float32, and refused where the CPU has none.

#include <cmath>
#include <cstdlib>
#include <memory>
#include <vector>

#include "core/base/random.h"
#include "core/transformer/transformer_network.h"
#include "gtest/gtest.h"

namespace saffron {
namespace {

using Network = TransformerNetwork<float>;

constexpr int kLength = 24;

TransformerShape ShapeOf(bool tied, MlpKind mlp, bool sparse) {
  TransformerShape shape;
  shape.vocab = 77;
  shape.width = 36;
  shape.context = kLength;
  shape.norm = NormKind::kLayer;
  shape.positions = PositionKind::kLearned;
  shape.mlp = mlp;
  shape.tied = tied;
  shape.biases = shape.readout_bias = true;
  shape.layers.assign(2,
                      {.heads = 3, .kv_heads = 1, .key_dim = 10, .value_dim = 14, .mlp_width = 50});
  if (sparse) {
    // Every token has all experts: a choice would be another one where two are nearly equal.
    shape.layers[1].moe = {
        .experts = 3, .top = 3, .capacity_factor = 3, .second = SecondPolicy::kAll};
  }
  return shape;
}

struct Case {
  std::unique_ptr<Network> network;
  std::vector<int32_t> inputs, targets;
  double loss = 0;

  Case(const TransformerShape& shape, bool bf16) {
    network = *Network::Create(shape, {.bf16 = bf16});
    const CounterRandom random(1, RandomPurpose::kTest);
    const absl::Span<float> p = network->arena().parameters();
    for (size_t i = 0; i < p.size(); ++i) p[i] = static_cast<float>(0.2 * random.Normal(i));
    for (int i = 0; i < 11 * kLength; ++i) {
      inputs.push_back(static_cast<int32_t>(random.Below(2 * i, shape.vocab)));
      targets.push_back(static_cast<int32_t>(random.Below(2 * i + 1, shape.vocab)));
    }
    loss = network->LossAndGradient(inputs, targets, kLength, 0);
  }
};

double Norm(absl::Span<const float> x) {
  double sum = 0;
  for (const float v : x) sum += double{v} * v;
  return std::sqrt(sum);
}

class Bf16Test : public testing::Test {
 protected:
  void SetUp() override {
    if (!CpuHasBf16()) GTEST_SKIP() << "no AVX512-BF16";
  }
};

TEST_F(Bf16Test, EveryTensorsGradientIsCloseToThatOfFloat32) {
  for (const bool sparse : {false, true}) {
    for (const bool tied : {false, true}) {
      const MlpKind mlp = tied ? MlpKind::kGelu : MlpKind::kSwiglu;
      const TransformerShape shape = ShapeOf(tied, mlp, sparse);
      Case exact(shape, false), rounded(shape, true);
      EXPECT_NEAR(rounded.loss, exact.loss, 0.01 * exact.loss);
      EXPECT_NE(rounded.loss, exact.loss);
      const absl::Span<float> want = exact.network->arena().gradients();
      const absl::Span<float> got = rounded.network->arena().gradients();
      const double all = Norm(want);
      for (const ParameterTensor& tensor : exact.network->arena().tensors()) {
        std::vector<float> difference;
        for (int64_t i = tensor.begin; i < tensor.begin + tensor.size(); ++i) {
          difference.push_back(got[i] - want[i]);
        }
        // A key bias cancels in softmax: its gradient is rounding alone.
        const double scale = std::max(1e-3 * all, Norm(want.subspan(tensor.begin, tensor.size())));
        EXPECT_LE(Norm(difference), 0.04 * scale) << tensor.name << (sparse ? ", sparse" : "");
        EXPECT_GT(Norm(difference), 0) << tensor.name;
      }
    }
  }
}

TEST_F(Bf16Test, TheSameInputsGiveTheSameBits) {
  const TransformerShape shape = ShapeOf(true, MlpKind::kGelu, false);
  Case one(shape, true), other(shape, true);
  EXPECT_EQ(one.loss, other.loss);
  EXPECT_EQ(one.network->arena().gradients(), other.network->arena().gradients());
  const auto nats = [](Case& c) { return c.network->Evaluate(c.inputs, c.targets, kLength).nats; };
  EXPECT_EQ(nats(one), nats(other));
}

TEST(Bf16RefusalTest, WithoutTheFeatureTheNetworkIsRefusedNamingIt) {
  setenv("SAFFRON_CPU", "x86-64-v3", 1);
  const auto network = Network::Create(ShapeOf(true, MlpKind::kGelu, false), {.bf16 = true});
  unsetenv("SAFFRON_CPU");
  ASSERT_EQ(network.status().code(), absl::StatusCode::kUnimplemented);
  EXPECT_NE(network.status().message().find("AVX512-BF16"), absl::string_view::npos);
}

}  // namespace
}  // namespace saffron
