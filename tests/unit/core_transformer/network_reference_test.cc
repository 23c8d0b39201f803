// A whole GPT-2 style model against nanoGPT: logits, loss and every gradient.

#include <memory>

#include "compare.h"
#include "core/transformer/transformer_network.h"
#include "fixture.h"
#include "gtest/gtest.h"

namespace saffron {
namespace {

constexpr int kWidth = 8;

TransformerShape GptShape() {
  TransformerShape shape;
  shape.vocab = 13;
  shape.width = kWidth;
  shape.context = 9;
  shape.norm = NormKind::kLayer;
  shape.positions = PositionKind::kLearned;
  shape.mlp = MlpKind::kGelu;
  shape.biases = true;
  shape.tied = true;
  shape.layers.assign(2,
                      {.heads = 2, .kv_heads = 2, .key_dim = 4, .value_dim = 4, .mlp_width = 32});
  return shape;
}

// Values of our tensor `name` in nanoGPT's file; `prefix` "w." or "g.". Its linear weights are
// [out, in], and query, key and value lie in one.
std::vector<double> TheirTensor(const Fixture& f, const std::string& prefix, std::string name) {
  const std::string base = prefix + "transformer.";
  if (name == "tok_embed") return f.Data(base + "wte.weight");
  if (name == "pos_embed") return f.Data(base + "wpe.weight");
  if (name == "final_norm.gain") return f.Data(base + "ln_f.weight");
  if (name == "final_norm.bias") return f.Data(base + "ln_f.bias");
  const std::string layer = base + "h." + name.substr(7, 1) + ".";
  name = name.substr(9);
  if (name == "norm1.gain") return f.Data(layer + "ln_1.weight");
  if (name == "norm1.bias") return f.Data(layer + "ln_1.bias");
  if (name == "norm2.gain") return f.Data(layer + "ln_2.weight");
  if (name == "norm2.bias") return f.Data(layer + "ln_2.bias");
  const bool bias = name.find(".b") != std::string::npos;
  std::string theirs;
  int part = 0, parts = 1;
  const std::string end = name.substr(name.find('.') + 2);  // q, k, v, o, 1, 2
  if (name.rfind("attn.", 0) == 0 && end != "o") {
    theirs = "attn.c_attn";
    parts = 3;
    part = end == "q" ? 0 : end == "k" ? 1 : 2;
  } else {
    theirs = end == "o" ? "attn.c_proj" : end == "1" ? "mlp.c_fc" : "mlp.c_proj";
  }
  const std::string key = layer + theirs + (bias ? ".bias" : ".weight");
  const std::vector<double> all = f.Data(key);
  const size_t size = all.size() / parts;
  const std::vector<double> mine(all.begin() + part * size, all.begin() + (part + 1) * size);
  if (bias) return mine;
  const size_t in = f.Shape(key)[1], out = mine.size() / in;
  std::vector<double> transposed(mine.size());
  for (size_t i = 0; i < in; ++i) {
    for (size_t o = 0; o < out; ++o) transposed[i * out + o] = mine[o * in + i];
  }
  return transposed;
}

template <typename T>
class NanoGptTest : public testing::Test {};
using Numbers = testing::Types<float, double>;
TYPED_TEST_SUITE(NanoGptTest, Numbers);

TYPED_TEST(NanoGptTest, LogitsLossAndEveryGradientAgree) {
  using T = TypeParam;
  const Fixture f("nanogpt");
  auto network = *TransformerNetwork<T>::Create(GptShape(), {});
  for (const ParameterTensor& tensor : network->arena().tensors()) {
    const std::vector<double> values = TheirTensor(f, "w.", tensor.name);
    ASSERT_EQ(static_cast<int64_t>(values.size()), tensor.size()) << tensor.name;
    std::copy(values.begin(), values.end(), network->arena().parameters().begin() + tensor.begin);
  }
  const std::vector<int32_t> tokens = f.Data<int32_t>("tokens"),
                             targets = f.Data<int32_t>("targets");
  std::vector<T> logits(tokens.size() * 13);
  network->Logits(tokens, 9, absl::MakeSpan(logits));
  EXPECT_LE(RelativeError(logits, f.Data("logits")), Tolerance<T>());

  const double want = f.Data("loss")[0];
  EXPECT_NEAR(network->LossAndGradient(tokens, targets, 9, 0), want, Tolerance<T>() * want);
  const Evaluation evaluation = network->Evaluate(tokens, targets, 9);
  EXPECT_EQ(evaluation.targets, 26);
  EXPECT_NEAR(evaluation.nats_per_target(), want, Tolerance<T>() * want);
  for (const ParameterTensor& tensor : network->arena().tensors()) {
    const std::vector<double> gradient = TheirTensor(f, "g.", tensor.name);
    // A key bias cancels in the softmax: its gradient is zero but for rounding.
    if (tensor.name.find(".bk") != std::string::npos) continue;
    EXPECT_LE(
        RelativeError(network->arena().gradients().subspan(tensor.begin, tensor.size()), gradient),
        Tolerance<T>())
        << tensor.name;
  }
}

}  // namespace
}  // namespace saffron
