// Against models that the paper's authors' notebook expanded.

#include <gtest/gtest.h>

#include "tests/golden/fixtures/read_fixture.h"
#include "tests/unit/core_derive/models.h"

namespace saffron {
namespace {

using nlohmann::json;

// Sizes of "before" or "after". Examples [3, 4, h] are looked up as rows of an embedding; the two
// outputs are the logits of two classes of as many.
TransformerShape ShapeOf(const json& size, const json& x_shape) {
  TransformerShape shape;
  shape.vocab = x_shape[0].get<int>() * x_shape[1].get<int>();
  shape.context = x_shape[1];
  shape.width = size["h"];
  shape.positions = PositionKind::kLearned;
  shape.mlp = MlpKind::kRelu;
  shape.biases = true;
  shape.tied = shape.final_norm = shape.causal = false;
  shape.layers.assign(size["N"].get<size_t>(), {.heads = size["E"],
                                                .kv_heads = size["E"],
                                                .key_dim = size["k"],
                                                .value_dim = size["v"],
                                                .mlp_width = size["p"],
                                                .norm1_epsilon = 0,
                                                .norm2_epsilon = 0});
  return shape;
}

class TheirModel {
 public:
  TheirModel(const json& expansion, bool after) : expansion_(expansion), after_(after) {}

  GrowableModel Load() const {
    GrowableModel model;
    model.shape = ShapeOf(expansion_[after_ ? "after" : "before"], expansion_["xshape"]);
    for (const ParameterTensor& tensor : LayOut(model.shape).tensors) {
      const std::vector<double> values = Tensor(tensor, model.shape);
      EXPECT_EQ(static_cast<int64_t>(values.size()), tensor.size()) << tensor.name;
      model.parameters.insert(model.parameters.end(), values.begin(), values.end());
    }
    return model;
  }

 private:
  std::vector<double> Find(const std::string& name) const {
    if (after_ && expansion_["dst"].contains(name)) return expansion_["dst"][name];
    return expansion_["src"].at(name);
  }

  std::vector<double> Tensor(const ParameterTensor& tensor, const TransformerShape& shape) const {
    const std::string& name = tensor.name;
    if (name == "tok_embed") return expansion_["x"];
    if (name == "pos_embed") return Find("PosE/PosE");
    if (name == "readout") {
      const std::vector<double> kernel = Find("outlayer/kernel");  // [h, 2]
      std::vector<double> wide(static_cast<size_t>(tensor.size()));
      for (int64_t i = 0; i < tensor.rows; ++i) {
        for (int64_t j = 0; j < 2; ++j) wide[i * tensor.cols + j] = kernel[2 * i + j];
      }
      return wide;
    }
    const std::string layer = "layers_" + name.substr(7, 1) + "/";
    const std::string part = name.substr(9);
    if (part == "norm1.gain") return Find(layer + "norm1/scale");
    if (part == "norm2.gain") return Find(layer + "norm2/scale");
    if (part == "mlp.w1") return Find(layer + "MLP/MLP_l1/kernel");
    if (part == "mlp.b1") return Find(layer + "MLP/MLP_l1/bias");
    if (part == "mlp.w2") return Find(layer + "MLP/MLP_l2/kernel");
    if (part == "mlp.b2") return Find(layer + "MLP/MLP_l2/bias");
    if (part[5] == 'b') return std::vector<double>(static_cast<size_t>(tensor.size()));
    return Heads(tensor, layer + "MHA/", part, shape.layers[0].heads);
  }

  // Theirs are kept head by head.
  std::vector<double> Heads(const ParameterTensor& tensor, const std::string& at,
                            const std::string& part, int heads) const {
    std::vector<double> all(static_cast<size_t>(tensor.size()));
    const int64_t cols = part == "attn.wo" ? tensor.cols : tensor.cols / heads;
    for (int e = 0; e < heads; ++e) {
      const std::string head = std::to_string(e);
      const std::vector<double> values =
          part == "attn.wo" ? Find(at + "W_Oe_" + head + "/kernel")
                            : Find(at + "heads_" + head + "/W_" +
                                   static_cast<char>(std::toupper(part[6])) + "/kernel");
      for (size_t i = 0; i < values.size(); ++i) {
        const int64_t row = static_cast<int64_t>(i) / cols, col = static_cast<int64_t>(i) % cols;
        const int64_t to = part == "attn.wo"
                               ? e * static_cast<int64_t>(values.size()) + static_cast<int64_t>(i)
                               : row * tensor.cols + e * cols + col;
        all[static_cast<size_t>(to)] = values[i];
      }
    }
    return all;
  }

  const json& expansion_;
  const bool after_;
};

void ExpectOutputs(const GrowableModel& model, const json& want, const std::string& what) {
  std::vector<int32_t> tokens(static_cast<size_t>(model.shape.vocab));
  for (size_t i = 0; i < tokens.size(); ++i) tokens[i] = static_cast<int32_t>(i);
  std::vector<double> logits(tokens.size() * tokens.size());
  MakeNetwork(model)->Logits(tokens, model.shape.context, absl::MakeSpan(logits));
  for (size_t i = 0; i < tokens.size(); ++i) {
    for (size_t j = 0; j < 2; ++j) {
      ExpectClose(logits[i * tokens.size() + j], want[2 * i + j].get<double>(), 1e-10, what);
    }
  }
}

// Free entries are taken from their expanded model, so that all of ours must be theirs.
TEST(ExpansionFixture, IsTheAuthors) {
  const json fixture = ReadFixture("expansions")["expansions"];
  for (const auto& [name, op] : {std::pair{"mlp", "mlp:7"},
                                 {"attn", "key:9"},
                                 {"head_add", "heads:5"},
                                 {"layer", "layers:5"}}) {
    const json& expansion = fixture[name];
    const GrowableModel parent = TheirModel(expansion, false).Load();
    const GrowableModel theirs = TheirModel(expansion, true).Load();
    ExpectOutputs(parent, expansion["y_before"], std::string(name) + " before");
    const auto child = Derive(
        parent, *ParseDeriveOps(op),
        [&](const TransformerShape&, uint64_t) { return theirs.parameters; }, 0);
    ASSERT_TRUE(child.ok()) << child.status();
    ASSERT_EQ(child->parameters.size(), theirs.parameters.size()) << name;
    for (size_t i = 0; i < theirs.parameters.size(); ++i) {
      ExpectClose(child->parameters[i], theirs.parameters[i], 1e-14, name);
    }
    ExpectOutputs(*child, expansion["y_after"], std::string(name) + " after");
  }
}

}  // namespace
}  // namespace saffron
