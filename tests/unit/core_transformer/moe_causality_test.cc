// What a later token may change, and what an expert's copy of an MLP computes.

#include "compare.h"
#include "core/transformer/transformer_network.h"
#include "gtest/gtest.h"
#include "moe_rig.h"

namespace saffron {
namespace {

constexpr int64_t kTokens = 24;

// In how many of `trials` layers with random weights and tokens does another last token change the
// output of an earlier one?
int Leaks(SlotOrder slots, int top, int trials) {
  TransformerShape shape = SparseShape(kTokens);
  shape.causal = slots != SlotOrder::kPriority;
  MoeShape& moe = shape.layers[0].moe;
  moe.slots = slots;
  moe.top = top;
  MoeRig<double> rig(shape, {}, kTokens);
  const Chunk chunk = rig.ChunkOf(kTokens, true);
  int leaks = 0;
  for (int trial = 0; trial < trials; ++trial) {
    rig.FillParams(trial, 0.7);
    const CounterRandom random(trial, RandomPurpose::kTest, 1);
    for (int64_t i = 0; i < kTokens * 6; ++i) rig.x.view().row(i / 6)[i % 6] = random.Normal(i);
    rig.Forward(chunk);
    const std::vector<double> before = rig.y.Values();
    for (int64_t i = 0; i < 6; ++i) rig.x.view().row(kTokens - 1)[i] = random.Normal(1000 + i);
    rig.Forward(chunk);
    const std::vector<double> after = rig.y.Values();
    leaks += !std::equal(before.begin(), before.end() - 6, after.begin());
  }
  return leaks;
}

TEST(MoeCausalityTest, TokenMajorSlotsNeverLookAhead) {
  EXPECT_EQ(Leaks(SlotOrder::kTokenMajor, 2, 1000), 0);
  EXPECT_EQ(Leaks(SlotOrder::kTokenMajor, 3, 200), 0);
}

TEST(MoeCausalityTest, ChoiceMajorSlotsDoWithMoreThanOneChoice) {
  EXPECT_GT(Leaks(SlotOrder::kChoiceMajor, 2, 200), 50);
  EXPECT_EQ(Leaks(SlotOrder::kChoiceMajor, 1, 200), 0);
}

TEST(MoeCausalityTest, PriorityDoesWithOne) { EXPECT_GT(Leaks(SlotOrder::kPriority, 1, 200), 10); }

TransformerShape NetworkShape() {
  TransformerShape shape;
  shape.vocab = 11;
  shape.width = 8;
  shape.context = 16;
  shape.positions = PositionKind::kLearned;
  shape.layers = {{.heads = 2, .kv_heads = 2, .key_dim = 4, .value_dim = 4, .mlp_width = 12},
                  {.heads = 2, .kv_heads = 2, .key_dim = 4, .value_dim = 4, .mlp_width = 12}};
  return shape;
}

std::vector<int32_t> RandomTokens(int64_t n, uint64_t seed) {
  const CounterRandom random(seed, RandomPurpose::kTest, 2);
  std::vector<int32_t> tokens;
  for (int64_t i = 0; i < n; ++i) tokens.push_back(static_cast<int32_t>(random.Below(i, 11)));
  return tokens;
}

template <typename T>
void FillNetwork(TransformerNetwork<T>& network, uint64_t seed) {
  const CounterRandom random(seed, RandomPurpose::kTest);
  absl::Span<T> params = network.arena().parameters();
  for (size_t i = 0; i < params.size(); ++i) params[i] = static_cast<T>(0.5 * random.Normal(i));
}

TEST(MoeCausalityTest, LogitsOfAWholeModelDoNotDependOnLaterTokens) {
  TransformerShape shape = NetworkShape();
  shape.layers[0].moe = {.experts = 4, .eval_capacity_factor = 1};
  shape.layers[1].moe = {
      .experts = 3, .top = 3, .eval_capacity_factor = 1, .dense = DensePlace::kAfter};
  auto network = *TransformerNetwork<float>::Create(shape, {.train = false});
  for (uint64_t trial = 0; trial < 20; ++trial) {
    FillNetwork(*network, trial);
    std::vector<int32_t> tokens = RandomTokens(32, trial);
    std::vector<float> before(32 * 11), after(32 * 11);
    network->Logits(tokens, 16, absl::MakeSpan(before));
    tokens[31] = (tokens[31] + 1) % 11;
    network->Logits(tokens, 16, absl::MakeSpan(after));
    EXPECT_TRUE(std::equal(before.begin(), before.end() - 11, after.begin())) << trial;
  }
}

// max |difference of logits| between a dense model and the same with every MLP as `moe`, each
// expert a copy of it.
double UpcyclingError(const MoeShape& moe) {
  TransformerShape shape = NetworkShape();
  auto dense = *TransformerNetwork<double>::Create(shape, {.train = false});
  FillNetwork(*dense, 3);
  for (TransformerLayerShape& layer : shape.layers) layer.moe = moe;
  auto sparse = *TransformerNetwork<double>::Create(shape, {.train = false});
  FillNetwork(*sparse, 4);  // routers are arbitrary
  for (const ParameterTensor& tensor : sparse->arena().tensors()) {
    std::string from = tensor.name;
    const size_t experts = from.find("moe.experts.");
    if (experts != std::string::npos) from.replace(experts, 13, "mlp");
    for (const ParameterTensor& source : dense->arena().tensors()) {
      if (source.name != from) continue;
      EXPECT_EQ(source.size(), tensor.size()) << from;
      std::copy_n(dense->arena().parameters().begin() + source.begin, source.size(),
                  sparse->arena().parameters().begin() + tensor.begin);
    }
  }
  const std::vector<int32_t> tokens = RandomTokens(64, 1);
  std::vector<double> want(64 * 11), got(64 * 11);
  dense->Logits(tokens, 16, absl::MakeSpan(want));
  sparse->Logits(tokens, 16, absl::MakeSpan(got));
  return RelativeError(got, want);
}

TEST(MoeUpcyclingTest, IsExactWhenGatesSumToOneAndNothingIsDropped) {
  for (const int top : {1, 2, 3}) {
    const MoeShape moe{
        .experts = 4, .top = top, .eval_capacity_factor = 4, .second = SecondPolicy::kAll};
    EXPECT_LE(UpcyclingError(moe), 1e-13) << top;
  }
}

TEST(MoeUpcyclingTest, IsNotWhenAnyOfThatFails) {
  MoeShape moe{.experts = 4, .eval_capacity_factor = 1, .second = SecondPolicy::kAll};
  EXPECT_GT(UpcyclingError(moe), 1e-2);  // choices are dropped
  moe.eval_capacity_factor = 4;
  moe.second = SecondPolicy::kNone;
  EXPECT_GT(UpcyclingError(moe), 1e-2);
  moe.second = SecondPolicy::kAll;
  moe.gates = MoeGates::kAll;
  EXPECT_GT(UpcyclingError(moe), 1e-2);
}

}  // namespace
}  // namespace saffron
