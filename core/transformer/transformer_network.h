#pragma once
// A transformer language model over windows of tokens: loss, gradient, evaluation, logits.
//
// A batch is worked through in chunks of whole sequences that are small enough for their
// activations to stay in the second-level cache; gradients add up in the arena. Logits never exist
// for more rows than a block of them, [rows, vocab], fits the same cache: the block becomes its own
// gradient and is multiplied back at once. Weights are packed once a step (packed_gemm.h).
//
// Not thread-safe. Same inputs, same bits. No memory is allocated after Create.

#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "core/layers/evaluation.h"
#include "core/math/aligned_array.h"
#include "core/math/parameter_arena.h"
#include "core/transformer/cross_entropy.h"
#include "core/transformer/transformer_layer.h"
#include "core/transformer/transformer_shape.h"

namespace saffron {

template <typename T>
class TransformerNetwork {
 public:
  struct Options {
    bool train = true;           // gradients are wanted
    double dropout = 0;          // of the embedding and of each sublayer's output; in [0, 1)
    double label_smoothing = 0;  // in [0, 1)
    uint64_t dropout_seed = 0;   // and that of the routers' draws
    MoeTraining moe = {};        // of the layers that have experts
    // Operands of the weights' products in bfloat16, with sums, parameters and all else in T, which
    // must be float.
    bool bf16 = false;
    // Not negative: a token sees nothing before the last such token among itself and those before
    // it, positions are counted from there, and experts have slots for each of these stretches
    // apart. Only where the shape is causal.
    int32_t document_begin = -1;
    // Room in the arena behind the network's own tensors for a vector that is trained along: its
    // name and its columns, of which there may be none. The network leaves a gradient of zero
    // there.
    ParameterTensor beside = {};
  };

  // Adds what another model knows to logits: z[r] is those of row `first_row` + r of the inputs
  // that were given. Must not depend on the network's parameters: no gradient goes through it.
  using LogitOffset = std::function<void(int64_t first_row, int64_t rows, Rows<T> z)>;

  // All parameters zero. INVALID_ARGUMENT: CheckShape. RESOURCE_EXHAUSTED when there is no memory.
  // UNIMPLEMENTED: bf16 on a CPU without AVX512-BF16.
  static absl::StatusOr<std::unique_ptr<TransformerNetwork>> Create(const TransformerShape& shape,
                                                                    const Options& options);

  // Mean smoothed loss (nats) of the targets that are not kIgnoredTarget, plus the routers' losses
  // as Options::moe weighs them, over sequences of
  // `length` tokens (at most shape().context) that lie one after the other in `inputs`; its
  // gradient is left in arena(). `step` chooses the dropout masks, for rows from `first_drawn` on
  // (a step may take its batch in several calls); 0: nothing is dropped. At least one target must
  // count.
  double LossAndGradient(absl::Span<const int32_t> inputs, absl::Span<const int32_t> targets,
                         int64_t length, int64_t step, int64_t first_drawn = 0);
  // Without dropout or smoothing. Sums over the targets that are not kIgnoredTarget.
  Evaluation Evaluate(absl::Span<const int32_t> inputs, absl::Span<const int32_t> targets,
                      int64_t length);
  // logits[inputs.size(), vocab], row-major.
  void Logits(absl::Span<const int32_t> inputs, int64_t length, absl::Span<T> logits);
  // FinalNorm's output, what the readout reads: hidden[inputs.size(), width], row-major.
  void Hidden(absl::Span<const int32_t> inputs, int64_t length, absl::Span<T> hidden);

  // Routers' losses of the last batch, means over its tokens, added up over layers.
  const MoeLosses& router_losses() const { return router_losses_; }
  // Called for every chunk and sparse layer in Evaluate, with the tokens of the chunk.
  using RoutingObserver = std::function<void(int layer, const MoeRoutingView& routing,
                                             absl::Span<const int32_t> tokens)>;
  void set_routing_observer(RoutingObserver observer) { routing_observer_ = std::move(observer); }
  // Of every pass from now on; null: none.
  void set_logit_offset(LogitOffset offset) { offset_ = std::move(offset); }

  ParameterArena<T>& arena() { return arena_; }
  const ParameterArena<T>& arena() const { return arena_; }
  // The tensor that begins at `begin` (a place of layout()).
  absl::Span<T> tensor(int64_t begin);
  const TransformerShape& shape() const { return shape_; }
  const TransformerLayout& layout() const { return layout_; }
  // Bytes of activations, packed weights and scratch.
  int64_t workspace_bytes() const { return workspace_.size() * static_cast<int64_t>(sizeof(T)); }

 private:
  TransformerNetwork(const TransformerShape& shape, const Options& options);
  void TakeWorkspace(Workspace<T>& workspace);
  void TakeBf16Scratch(Workspace<T>& workspace);
  void Pack(bool backward);
  DropoutSite EmbeddingSite(const Chunk& chunk) const;
  void Embed(const Chunk& chunk, const int32_t* inputs, Rows<T> x);
  void EmbedBackward(const Chunk& chunk, const int32_t* inputs, Rows<T> dx);
  NormWeights<T> FinalNorm(const T* params) const;
  void ShowRouting(const Chunk& chunk, const int32_t* inputs);
  // Inputs of the chunk to readout_in_.
  void Forward(const Chunk& chunk, const int32_t* inputs);
  void LogitsOf(const Chunk& chunk, int64_t row, int64_t rows);  // rows of readout_in_ to z_
  double ReadoutBackward(const Chunk& chunk, const int32_t* targets, double scale);
  // Chunk::document of a chunk of these inputs.
  const int32_t* FindDocuments(const int32_t* inputs, int64_t sequences, int64_t length);
  // Calls f(chunk) for all chunks of a batch.
  template <typename F>
  void ForChunks(absl::Span<const int32_t> inputs, int64_t length, int64_t step,
                 int64_t first_drawn, bool train, F f);
  template <typename F>
  void ForLogitBlocks(int64_t rows, F f);

  const TransformerShape shape_;
  const Options options_;
  TransformerLayout layout_;
  int64_t chunk_rows_ = 0, logit_rows_ = 0;
  ParameterArena<T> arena_;
  AlignedArray<T> workspace_;
  std::vector<TransformerLayer<T>> layers_;
  MoeLosses router_losses_;
  RoutingObserver routing_observer_;
  LayerScratch<T> scratch_;
  Rows<T> top_;         // output of the last layer
  Rows<T> readout_in_;  // FinalNorm(top_)
  Rows<T> dreadout_in_, dx_, embed_mask_;
  Rows<T> z_;                    // [logit_rows_, vocab]
  int32_t* document_ = nullptr;  // [chunk_rows_], with Options::document_begin alone
  NormState<T> final_state_;
  PackedWeight<T> readout_;
  Bf16Scratch bf16_;
  LogitOffset offset_;
};

}  // namespace saffron
