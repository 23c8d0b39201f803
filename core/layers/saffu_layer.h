#pragma once
// SAFFU, the self-attentive feed-forward unit: forward, loss, gradient and evaluation of a stack of
// layers over a token stream. After Williams & Zhao, arXiv:2311.07510; the equations are this
// project's own.
//
// One layer, target position t, keys X_1..X_K (feature_tables.h says what each reads), query q =
// X_1:
//   s_k = beta_k + q' W_k X_k        A = softmax(s)          (W = 0 without attention)
//   z   = g sum_k A_k X_k' U_k + bias                        p = softmax(z)
// U_k is the block of rows of U that belongs to key k (concat head) or the whole of U (sum head).
// The top layer's loss is -log p[s_t], averaged over targets; a lower layer's p is the key stream o
// of the layer above.
//
// Gradients, with G = dL/dz, T_k = X_k'U_k, d_k = U_k G:
//   dbias = sum G        dU_k = sum g A_k X_k G'        dA_k = g <G, T_k>
//   ds = A o (dA - <A, dA>)    dbeta = sum ds           dW_k = sum ds_k q X_k'
//   dX_k = g A_k d_k + ds_k W_k'q,  and dX_1 += sum_k ds_k W_k X_k
// and through a lower layer's output o: dz = o o (do - <o, do>).
// Trained: U, W, beta and bias of every layer. Fixed: features and the gain g.

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "core/layers/evaluation.h"
#include "core/math/parameter_arena.h"
#include "core/model/feature_tables.h"
#include "core/model/saffu_params.h"

namespace saffron {

// A network in training. float for work, double for gradient checks: the same code. Not
// thread-safe; distinct networks are independent. Same inputs, same bits, whatever was computed
// before.
template <typename T>
class SaffuNetwork {
 public:
  struct Options {
    bool train = true;  // false: for evaluation alone, without memory for gradients and batches
    // Targets that go through the kernels together; larger batches are cut, with the same result up
    // to rounding. Memory is about 4 outputs * chunk bytes, and as much again for each r and o key.
    int chunk = 1024;
    // Room in the arena behind the network's own tensors for a vector that is trained along: its
    // name and its columns, of which there may be none. The network leaves a gradient of zero
    // there.
    ParameterTensor beside = {};
  };
  // Is given z[outputs], the logits of target t, and may add to them what does not depend on the
  // network's parameters. Called for the positions of a chunk in ascending order.
  using OnLogits = std::function<void(int64_t t, T* z)>;

  // Layers bottom first. INVALID_ARGUMENT when shapes and features do not fit each other (names the
  // layer and key); RESOURCE_EXHAUSTED when there is no memory. Nothing large is allocated
  // afterwards.
  static absl::StatusOr<std::unique_ptr<SaffuNetwork>> Create(
      const std::vector<SaffuLayerParams<T>>& layers, std::shared_ptr<const FeatureTables> features,
      const Options& options);
  virtual ~SaffuNetwork() = default;

  // Mean loss, in nats per target, over the targets stream[t] for t in `positions` (any order,
  // repeats count twice; at least one), and its gradient, left in arena(). Not finite when training
  // has diverged.
  virtual double LossAndGradient(absl::Span<const int32_t> stream,
                                 absl::Span<const int64_t> positions) = 0;
  // The same of the logits that on_logits leaves.
  virtual double LossAndGradient(absl::Span<const int32_t> stream,
                                 absl::Span<const int64_t> positions,
                                 const OnLogits& on_logits) = 0;
  // Shows the logits of all `positions`; needs Options::train too.
  virtual void VisitLogits(absl::Span<const int32_t> stream, absl::Span<const int64_t> positions,
                           const OnLogits& on_logits) = 0;
  // The same loss without the gradient; needs Options::train too.
  virtual double Loss(absl::Span<const int32_t> stream, absl::Span<const int64_t> positions) = 0;

  // All targets t = first, ..., stream.size() - 1. The contexts of the first targets reach back to
  // before `first`, and before the stream's start find FeatureTables::padding.
  virtual Evaluation Evaluate(absl::Span<const int32_t> stream, int64_t first) = 0;
  // The targets stream[t] for t in `positions`, in that order.
  virtual Evaluation Evaluate(absl::Span<const int32_t> stream,
                              absl::Span<const int64_t> positions) = 0;

  // Parameters in the kernels' own order, with gradient; snapshot or restore a network
  // by copying parameters().
  virtual ParameterArena<T>& arena() = 0;
  // Copies of the parameters of layer `index` (0 is the bottom) in the order of saffu_params.h.
  virtual SaffuLayerParams<T> Layer(int index) const = 0;
  virtual int num_layers() const = 0;
  // Trained numbers: U, W, beta, bias of all layers (without the kernels' padding).
  virtual int64_t num_parameters() const = 0;
};

}  // namespace saffron
