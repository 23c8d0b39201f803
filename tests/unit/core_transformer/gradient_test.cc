// The gradient of every kind of model against central differences, in double.

#include <cmath>
#include <functional>
#include <memory>
#include <vector>

#include "core/base/random.h"
#include "core/transformer/transformer_network.h"
#include "gtest/gtest.h"
#include "tests/unit/core_transformer/compare.h"

namespace saffron {
namespace {

using Network = TransformerNetwork<double>;

struct Case {
  const char* name;
  std::function<void(TransformerShape&, Network::Options&)> change;
};

// Two layers of different sizes; values wider than keys.
TransformerShape BaseShape() {
  TransformerShape shape;
  shape.vocab = 11;
  shape.width = 6;
  shape.context = 21;
  shape.positions = PositionKind::kNone;
  shape.mlp = MlpKind::kRelu;
  shape.layers = {{.heads = 2, .kv_heads = 2, .key_dim = 4, .value_dim = 5, .mlp_width = 7},
                  {.heads = 4, .kv_heads = 2, .key_dim = 6, .value_dim = 3, .mlp_width = 9}};
  return shape;
}

const Case kCases[] = {
    {"Relu", [](TransformerShape&, Network::Options&) {}},
    {"GeluWithBiasesLayerNormLearnedPositions",
     [](TransformerShape& s, Network::Options&) {
       s.mlp = MlpKind::kGelu;
       s.biases = s.readout_bias = true;
       s.norm = NormKind::kLayer;
       s.positions = PositionKind::kLearned;
     }},
    {"GeluTanhUntied",
     [](TransformerShape& s, Network::Options&) {
       s.mlp = MlpKind::kGeluTanh;
       s.tied = false;
     }},
    {"GegluMultiplicativeRope",
     [](TransformerShape& s, Network::Options&) {
       s.mlp = MlpKind::kGeglu;
       s.mlp_unit_bias = MlpUnitBias::kMultiplicative;
       s.positions = PositionKind::kRope;
     }},
    {"SwigluAdditiveAlibiUntiedBiases",
     [](TransformerShape& s, Network::Options&) {
       s.mlp = MlpKind::kSwiglu;
       s.mlp_unit_bias = MlpUnitBias::kAdditive;
       s.positions = PositionKind::kAlibi;
       s.tied = false;
       s.biases = s.readout_bias = true;
     }},
    {"BiasesWithRope",
     [](TransformerShape& s, Network::Options&) {
       s.positions = PositionKind::kRope;
       s.biases = true;
     }},
    {"NotCausalWithoutFinalNorm",
     [](TransformerShape& s, Network::Options&) {
       s.causal = false;
       s.final_norm = false;
     }},
    {"DropoutAndSmoothing",
     [](TransformerShape& s, Network::Options& o) {
       s.mlp = MlpKind::kGelu;
       s.positions = PositionKind::kLearned;
       o.dropout = 0.3;
       o.label_smoothing = 0.1;
       o.dropout_seed = 5;
     }},
    {"Experts",
     [](TransformerShape& s, Network::Options& o) {
       s.layers[0].moe = {.experts = 4};
       o.moe = {.z_loss = 0.03, .balance_loss = 0.2};
     }},
    {"ExpertsOfOneChoiceWithJitterAndDenseBefore",
     [](TransformerShape& s, Network::Options& o) {
       s.mlp = MlpKind::kGeglu;
       s.mlp_unit_bias = MlpUnitBias::kMultiplicative;
       s.biases = true;
       s.layers[1].moe = {
           .experts = 3, .top = 1, .gates = MoeGates::kAll, .dense = DensePlace::kBefore};
       o.moe = {.z_loss = 0.03, .balance_loss = 0.2, .jitter = 0.1};
     }},
    {"ExpertsOfThreeChoicesWithDropoutAndDenseAfter",
     [](TransformerShape& s, Network::Options& o) {
       s.mlp = MlpKind::kSwiglu;
       s.norm = NormKind::kLayer;
       s.causal = false;
       for (TransformerLayerShape& layer : s.layers) {
         layer.moe = {.experts = 5,
                      .top = 3,
                      .second = SecondPolicy::kAll,
                      .slots = SlotOrder::kPriority,
                      .dense = DensePlace::kAfter};
       }
       o.dropout = 0.2;
       o.moe.expert_dropout = 0.3;
     }},
    {"ExpertsChoiceMajorOverAll",
     [](TransformerShape& s, Network::Options& o) {
       s.layers[0].moe = {.experts = 4,
                          .capacity_factor = 1,
                          .gates = MoeGates::kAll,
                          .second = SecondPolicy::kAll,
                          .slots = SlotOrder::kChoiceMajor};
       o.moe = {.z_loss = 0, .balance_loss = 0};
     }},
    {"DocumentsApartWithLearnedPositionsAndGroupedHeads",
     [](TransformerShape& s, Network::Options& o) {
       s.positions = PositionKind::kLearned;
       o.document_begin = 4;
     }},
    {"DocumentsApartWithAlibiAndExperts",
     [](TransformerShape& s, Network::Options& o) {
       s.positions = PositionKind::kAlibi;
       s.layers[1].moe = {.experts = 3, .capacity_factor = 1};
       o.moe = {.z_loss = 0.03, .balance_loss = 0.2};
       o.document_begin = 4;
     }},
    {"DocumentsApartWithRope",
     [](TransformerShape& s, Network::Options& o) {
       s.positions = PositionKind::kRope;
       o.document_begin = 4;
     }},
    {"NoLayers", [](TransformerShape& s, Network::Options&) { s.layers.clear(); }},
};

class GradientTest : public testing::TestWithParam<Case> {};

TEST_P(GradientTest, IsThatOfTheLoss) {
  TransformerShape shape = BaseShape();
  Network::Options options;
  GetParam().change(shape, options);
  for (TransformerLayerShape& layer : shape.layers) {
    if (shape.positions == PositionKind::kRope) {
      layer.rope_frequencies = RopeFrequencies(layer.key_dim);
    }
    if (shape.positions == PositionKind::kAlibi) layer.alibi_slopes = AlibiSlopes(layer.heads);
  }
  auto created = Network::Create(shape, options);
  ASSERT_TRUE(created.ok()) << created.status();
  Network& network = **created;
  const CounterRandom random(7, RandomPurpose::kTest);
  const absl::Span<double> p = network.arena().parameters();
  for (size_t i = 0; i < p.size(); ++i) p[i] = 0.4 * random.Normal(i);
  constexpr int kLength = 19, kSequences = 8;  // more tokens than a chunk has
  std::vector<int32_t> inputs, targets;
  for (int i = 0; i < kLength * kSequences; ++i) {
    inputs.push_back(static_cast<int32_t>(random.Below(1'000'000 + i, 11)));
    targets.push_back(static_cast<int32_t>(random.Below(2'000'000 + i, 12)) - 1);  // some ignored
  }
  const auto loss = [&] { return network.LossAndGradient(inputs, targets, kLength, 3); };
  loss();
  const std::vector<double> gradient(network.arena().gradients().begin(),
                                     network.arena().gradients().end());
  for (const ParameterTensor& tensor : network.arena().tensors()) {
    // Along a random direction, and at one element.
    double analytic = 0, size = 0;
    std::vector<double> direction(tensor.size());
    for (int64_t i = 0; i < tensor.size(); ++i) {
      direction[i] = random.Normal(3'000'000 + tensor.begin + i);
      analytic += direction[i] * gradient[tensor.begin + i];
      size += std::abs(direction[i] * gradient[tensor.begin + i]);
    }
    constexpr double kStep = 1e-5;
    const std::vector<double> at(p.begin(), p.end());
    const auto moved = [&](double by) {
      for (int64_t i = 0; i < tensor.size(); ++i) {
        p[tensor.begin + i] = at[tensor.begin + i] + by * direction[i];
      }
      const double value = loss();
      std::copy(at.begin(), at.end(), p.begin());
      return value;
    };
    const double numeric = Derivative(kStep, moved);
    EXPECT_NEAR(analytic, numeric, 1e-6 * std::max(size, 1e-3)) << tensor.name;
  }
}

INSTANTIATE_TEST_SUITE_P(Kinds, GradientTest, testing::ValuesIn(kCases),
                         [](const auto& info) { return std::string(info.param.name); });

// With logits of another model added, the gradient is that of the sum.
TEST(TransformerOffset, EntersTheLossButHasNoGradientOfItsOwn) {
  const CounterRandom random(9, RandomPurpose::kTest);
  const TransformerShape shape = BaseShape();
  auto made = Network::Create(shape, {});
  ASSERT_TRUE(made.ok());
  Network& network = **made;
  uint64_t draw = 0;
  for (double& p : network.arena().parameters()) p = 0.3 * random.Normal(draw++);
  const std::vector<int32_t> inputs = {1, 5, 3, 2, 7, 7, 0, 4}, targets = {5, 3, 2, 7, 7, 0, 4, 9};
  std::vector<int64_t> seen;
  network.set_logit_offset([&](int64_t first, int64_t rows, Rows<double> z) {
    for (int64_t r = 0; r < rows; ++r) {
      seen.push_back(first + r);
      for (int i = 0; i < shape.vocab; ++i) z.row(r)[i] += 0.1 * (first + r) * std::sin(i);
    }
  });
  const double loss = network.LossAndGradient(inputs, targets, 4, 0);
  EXPECT_EQ(seen, (std::vector<int64_t>{0, 1, 2, 3, 4, 5, 6, 7}));
  EXPECT_NEAR(network.Evaluate(inputs, targets, 4).nats / 8, loss, 1e-12);
  const std::vector<double> gradient(network.arena().gradients().begin(),
                                     network.arena().gradients().end());
  for (size_t p = 0; p < gradient.size(); p += 13) {
    double& value = network.arena().parameters()[p];
    const double was = value;
    value = was + 1e-5;
    const double up = network.Evaluate(inputs, targets, 4).nats / 8;
    value = was - 1e-5;
    const double down = network.Evaluate(inputs, targets, 4).nats / 8;
    value = was;
    ASSERT_NEAR(gradient[p], (up - down) / 2e-5, 1e-7) << "parameter " << p;
  }
  network.set_logit_offset(nullptr);
  EXPECT_NE(network.Evaluate(inputs, targets, 4).nats / 8, loss);
}

}  // namespace
}  // namespace saffron
