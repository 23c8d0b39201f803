#pragma once
// The transformer family: what a model is made of, and where its tensors lie in the parameter
// arena.
//
//   x_0[t] = tok_embed[token t]  (+ pos_embed[t])
//   x'     = x + Attention(Norm1(x)),    x <- x' + Mlp(Norm2(x'))         in every layer (pre-norm)
//   logits = FinalNorm(x) readout (+ readout_bias), or FinalNorm(x) tok_embed' when tied
//
// Tokens are rows, weights are [in, out]. Vaswani et al., "Attention is all you need", 2017;
// pre-norm as in GPT-2. Sizes are a layer's own, and what follows from sizes in most code but not
// here (a norm's epsilon, rotary frequencies, ALiBi slopes) is stored, so that a model can be
// widened, deepened and given heads without changing what it computes (Gesmundo & Maile,
// "Composable function-preserving expansions for transformer architectures", arXiv:2308.06103).

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "core/math/parameter_arena.h"
#include "core/transformer/moe_shape.h"

namespace saffron {

enum class NormKind : uint8_t { kRms, kLayer };
enum class PositionKind : uint8_t {
  kNone,
  kLearned,  // pos_embed[t] is added to the token's row
  kRope,     // queries and keys are turned by angles that grow with t
  kAlibi,    // scores fall linearly with distance
};
enum class MlpKind : uint8_t {
  kRelu,
  kGelu,      // exact: a Phi(a)
  kGeluTanh,  // with tanh for Phi
  kGeglu,     // gelu(x w1) * (x w1_linear)
  kSwiglu,    // silu(x w1) * (x w1_linear)
};
// A vector on the hidden units just before w2: u * scale, or u + shift.
enum class MlpUnitBias : uint8_t { kNone, kMultiplicative, kAdditive };

inline bool IsGated(MlpKind kind) { return kind == MlpKind::kGeglu || kind == MlpKind::kSwiglu; }

// One layer. Every size >= 1.
struct TransformerLayerShape {
  int heads = 1;
  int kv_heads = 1;   // divides heads; query head e reads key/value head e / (heads / kv_heads)
  int key_dim = 1;    // of a head's query and key; even for kRope
  int value_dim = 1;  // of a head's value
  int mlp_width = 1;  // hidden units of the MLP; with experts, of each of them
  double norm1_epsilon = 1e-5, norm2_epsilon = 1e-5;
  std::vector<double> rope_frequencies = {};  // [key_dim / 2] radians a position; kRope only
  std::vector<double> alibi_slopes = {};      // [heads], positive; kAlibi only
  MoeShape moe = {};                          // experts in the MLP's place

  int query_width() const { return heads * key_dim; }
  int key_width() const { return kv_heads * key_dim; }
  int value_width() const { return kv_heads * value_dim; }
  int attended_width() const { return heads * value_dim; }
};

struct TransformerShape {
  int vocab = 0;    // ids, and logits
  int width = 0;    // h, of the residual stream
  int context = 0;  // T: longest sequence; rows of pos_embed
  NormKind norm = NormKind::kRms;
  PositionKind positions = PositionKind::kRope;
  MlpKind mlp = MlpKind::kSwiglu;
  MlpUnitBias mlp_unit_bias = MlpUnitBias::kNone;
  bool biases = false;        // on q, k, v, attention output, and both MLP products
  bool tied = true;           // logits from tok_embed
  bool readout_bias = false;  // one number a class
  bool final_norm = true;
  bool causal = true;  // a token sees itself and those before it; else all of its sequence
  double final_epsilon = 1e-5;
  std::vector<TransformerLayerShape> layers = {};
};

// theta^(-2i/key_dim), i < key_dim/2, theta = 10^4. Su et al., RoFormer, arXiv:2104.09864.
std::vector<double> RopeFrequencies(int key_dim);
// 2^(-8e/n), e = 1..n, for n a power of two; else those of the power below, then every other one of
// the doubled list. Press et al., "Train short, test long", ICLR 2022.
std::vector<double> AlibiSlopes(int heads);

// INVALID_ARGUMENT naming the first size that cannot be, what is wanted and what it is.
absl::Status CheckShape(const TransformerShape& shape);

// Where tensors begin in the arena; -1 where the shape has none. LayOut fills `tensors` in
// ascending order, without gaps. Names:
//   tok_embed [vocab, h]   pos_embed [context, h]
//   layers.I.norm1.gain [h]   .bias [h] (LayerNorm)          layers.I.norm2.*, final_norm.*
//   likewise layers.I.attn.wq [h, heads k]  .wk [h, kv_heads k]  .wv [h, kv_heads v]  .wo [heads v,
//   h]
//     columns of wq, wk, wv and rows of wo go head by head;  .bq .bk .bv .bo with `biases`
//   layers.I.mlp.w1 [h, p]  .w1_linear [h, p] (gated)  .w2 [p, h]  .b1 .b1_linear .b2 with `biases`
//   layers.I.mlp.unit_bias [p]    multiplicative (starts at 1) or additive (at 0)
//     with experts instead: layers.I.moe.router [h, E], and as the MLP's
//     layers.I.moe.experts.J.w1 ..., layers.I.moe.dense.w1 ... with layers.I.moe.dense_norm.gain
//   readout [h, vocab] (untied)   readout_bias [vocab]
struct TransformerLayout {
  struct Norm {
    int64_t gain = -1, bias = -1;
  };
  struct Layer {
    Norm norm1, norm2;
    int64_t wq = -1, wk = -1, wv = -1, wo = -1, bq = -1, bk = -1, bv = -1, bo = -1;
    MlpPlaces mlp;  // of a dense layer
    MoePlaces moe;
  };
  int64_t tok_embed = -1, pos_embed = -1, readout = -1, readout_bias = -1;
  std::vector<Layer> layers;
  Norm final_norm;
  std::vector<ParameterTensor> tensors;
  int64_t size = 0;  // of all parameters
};

// The shape must satisfy CheckShape.
TransformerLayout LayOut(const TransformerShape& shape);

// Parameters, and those that work on any one token: of a sparse layer's experts, m.
struct ParameterCount {
  int64_t total = 0, active = 0;
};
ParameterCount CountParameters(const TransformerShape& shape, const TransformerLayout& layout);

}  // namespace saffron
