#pragma once
// Router and experts: rows of tokens to rows of outputs, forward and backward.
//   s = x W_r (in double),   p = softmax s,   y_t = sum_j kept_tj G_tj f_{i_j}(x_t)
// A token that nobody kept gets 0: only the residual passes. Rows are gathered by expert, go
// through one product per expert and matrix, and are added back; which token sits where is a list,
// never a matrix. The group in which slots are counted is a sequence, or a document of it where
// these are apart (chunk.h).
//
// Backward, with a_tj = <dy_t, f_{i_j}(x_t)> for kept choices, else 0; decisions carry no gradient:
//   ds_{t,i_j} = G_tj (a_tj - sum_l G_tl a_tl)                        (gates over the selected)
//   ds_te      = p_te (a_te - sum_l p_{t,i_l} a_tl), a_te = 0 if e was not chosen   (over all)
//   z loss     c_z (1/T) sum_t l_t^2, l = logsumexp s:     ds_t  += c_z (2/T) l_t p_t
//   balance    c_B mean over sequences of E sum_e f_e P_e, f the share of first choices before any
//              drop, P the mean of p:                      ds_te += c_B (E/T) p_te (f_e - f'p_t)
// Zoph et al., arXiv:2202.08906, equations 5 to 9 and appendix G.

#include <cstdint>
#include <vector>

#include "core/base/random.h"
#include "core/transformer/chunk.h"
#include "core/transformer/mlp.h"
#include "core/transformer/moe_routing.h"

namespace saffron {

// Added up over layers and chunks; not yet weighed by MoeTraining.
struct MoeLosses {
  double z = 0, balance = 0;
};

// What a router decided about a chunk. Valid until the next forward pass.
struct MoeRoutingView {
  int experts = 0, top = 0;
  int64_t rows = 0, length = 0;        // of the chunk; of a sequence
  const MoeChoice* choices = nullptr;  // [rows * top]
  Rows<double> probabilities;          // [rows, experts]
  const double* logsumexp = nullptr;   // [rows]
};

// One for all layers, as large as the largest.
template <typename T>
struct MoeScratch {
  Rows<T> dy;
  MlpScratch<T> mlp;
  Rows<double> ds, dx;
  double* dw = nullptr;
};
template <typename T>
MoeScratch<T> TakeMoeScratch(const TransformerShape& shape, int64_t rows, Workspace<T>& workspace);

template <typename T>
class MoeLayer {
 public:
  // Of layer `index` of the shape, which must outlive this. `params`: the arena's, null while the
  // workspace only counts.
  MoeLayer(const TransformerShape& shape, const TransformerLayout& layout, int index,
           const T* params, const MoeTraining& training, uint64_t seed, int64_t rows, bool train,
           Workspace<T>& workspace);

  void Pack(const T* params, bool backward);
  // The chunk's random numbers, pure functions of (seed, step, row of the batch); before Forward.
  void Draw(const Chunk& chunk);
  // Sets y[rows, h]; its losses are added to `losses`.
  void Forward(const Chunk& chunk, Rows<T> x, Rows<T> y, MoeLosses& losses);
  // Sets dx; adds to `gradient`. After Forward with chunk.train.
  void Backward(const Chunk& chunk, Rows<T> dy, Rows<T> dx, T* gradient,
                const MoeScratch<T>& scratch);

  // Of the last Draw: uniforms in [0, 1) of the choices, [rows * top].
  double* uniforms() { return uniforms_; }
  MoeRoutingView routing(const Chunk& chunk) const;

 private:
  void Route(const Chunk& chunk, Rows<T> x, MoeLosses& losses);
  void CountFirstChoices(int64_t row, int64_t length);  // to shares_
  // Places of kept choices by expert, and their rows of x.
  void Gather(const Chunk& chunk, Rows<T> x);
  void GateGradient(const Chunk& chunk, Rows<T> dy, const MoeScratch<T>& scratch);
  void LossGradient(const Chunk& chunk, Rows<double> ds);
  CounterRandom Random(uint32_t which) const;

  const MoeShape* moe_;
  int64_t width_, mlp_width_;
  int index_;
  MoePlaces places_;
  MoeTraining training_;
  uint64_t seed_;
  std::vector<MlpWeights<T>> experts_;
  PackedWeight<double> router_;
  double* router_copy_ = nullptr;  // [h, E]
  Rows<double> x_, s_, p_, jitter_;
  double *logsumexp_ = nullptr, *uniforms_ = nullptr, *first_probability_ = nullptr;
  double* shares_ = nullptr;  // [E]
  MoeChoice* choices_ = nullptr;
  int32_t *counts_ = nullptr, *order_ = nullptr;
  int32_t* place_ = nullptr;  // [rows * top], row in `at_` of a kept choice
  int32_t* begin_ = nullptr;  // [E + 1], rows in `at_` of each expert
  MlpActivations<T> at_;      // of kept choices, by expert
  Rows<T> outputs_;           // f(x) of the same
};

}  // namespace saffron
