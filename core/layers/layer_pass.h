#pragma once
// One SAFFU layer at work on a batch of positions: forward to the softmax, backward from it.
//
// The vocabulary is walked in blocks of kBlock columns (layer_places.h). In a block, a position's
// logits are kBlock numbers in registers, to which every non-zero of a sparse key adds one row of U
// and every dense key one row of T_k = X_k U_k, made for the block beforehand by a matrix product
// over the key's distinct rows. The softmax runs along: each position keeps the maximum so far and
// the sum of exponentials relative to it, and the block's exponentials are stored once, relative to
// the maximum of that moment; the backward pass scales instead of exponentiating again.

#include <cstdint>
#include <vector>

#include "absl/types/span.h"
#include "core/layers/attention.h"
#include "core/layers/evaluation.h"
#include "core/layers/key_rows.h"
#include "core/layers/layer_places.h"
#include "core/math/aligned_array.h"

namespace saffron {

struct LayerPassOptions {
  int positions_max = 0;
  bool train = false;  // a backward pass may follow
  bool lower = false;  // a layer above reads the outputs
};

// Working memory for the positions of one batch in one layer, all of it allocated by the
// constructor. Order of calls: Load, and LoadLower for every o key; Forward; MakeOutputs in a lower
// layer; then, in training, BackwardFromTargets at the top or BackwardFromOutputs below it.
template <typename T>
class LayerPass {
 public:
  // `features` and the shape behind `places` must outlive this.
  LayerPass(const LayerPlaces<T>& places, T gain, const FeatureTables& features,
            const LayerPassOptions& options);
  // Whether all memory was there.
  bool ok() const;

  // Sets the batch: rows of the token keys. Positions may be negative (padding stands there).
  void Load(absl::Span<const int32_t> stream, absl::Span<const int64_t> positions);
  // Rows of the o key `k`: those of the lower layer's outputs. After Load.
  void LoadLower(int k, const LayerPass& lower, absl::Span<const int32_t> slots);

  // Logits, softmax and, where `targets` (one per position, or empty) are given, their losses.
  // `arena` holds the parameters.
  void Forward(const T* arena, absl::Span<const int32_t> targets);
  // Of the targets of the last Forward.
  Evaluation Result() const;
  // In Forward's place, in training: logits alone, for whoever adds to them before the softmax.
  void ForwardLogits(const T* arena);
  // The logits of position m of the batch, z[outputs]; and in their place dL/dz, after which
  // BackwardFromLogits may follow. [outputs]
  void CopyLogits(int64_t m, T* z) const;
  void SetLogitGradient(int64_t m, const T* dz);
  // Fills outputs()[positions, outputs_stride()] with the softmax; lower layers only.
  void MakeOutputs();
  const T* outputs() const { return outputs_.data(); }
  int outputs_stride() const { return places_.blocks() * kBlock<T>; }

  // Adds the gradient of scale * (sum of the targets' losses) to `gradient`, laid out as `arena`;
  // where `first`, the part that belongs to U is set instead.
  void BackwardFromTargets(const T* arena, absl::Span<const int32_t> targets, T scale, bool first,
                           T* gradient);
  // The same once SetLogitGradient was called for every position.
  void BackwardFromLogits(const T* arena, bool first, T* gradient);
  // The same from d_outputs()[positions, outputs_stride()], the loss's gradient by the outputs.
  void BackwardFromOutputs(const T* arena, bool first, T* gradient);
  T* d_outputs() { return d_outputs_.data(); }
  // After backward: gradient by the rows of the o key `k`, [positions, stride of the key].
  const T* d_lower(int k) const { return dx_[k]; }

  int positions() const { return positions_; }
  const KeyRows<T>& key(int k) const { return keys_[k]; }

 private:
  // A term c * (row of U's block) of a position's logits.
  struct Term {
    int32_t offset;  // of the row in the block
    T coefficient;   // g A_k x_j
  };
  // A dense key: its products with U's block, and their gradient.
  struct DenseKey {
    int key = 0;
    AlignedArray<T> products;      // T_k: [blocks, rows, kBlock], or of one block when not training
    AlignedArray<T> d_products;    // sum of g A_k G by row, of one block
    AlignedArray<T> d_rows;        // o keys: dX_k, [positions_max, stride]
    AlignedArray<T> u_transposed;  // o keys: U's block, [kBlock, stride]
  };

  void MakeTerms();
  void PrepareInitialLogits(const T* arena);
  T* ProductsOf(DenseKey& dense, int block);
  void MultiplyDenseKeys(const T* arena, int block);
  void BeginForward(const T* arena);
  template <bool kLogitsAlone>
  void ForwardBlock(const T* arena, int block, absl::Span<const int32_t> targets);
  void MakeFactors(T scale);
  void Backward(const T* arena, absl::Span<const int32_t> targets, T scale, bool first,
                T* gradient);
  void BackwardBlock(const T* arena, int block, absl::Span<const int32_t> targets, T scale,
                     T* gradient);
  void BackwardDenseKeys(const T* arena, int block, T* gradient);

  T* stored(int block) { return stored_.data() + int64_t{block} * positions_ * kBlock<T>; }
  const T* stored(int block) const {
    return stored_.data() + int64_t{block} * positions_ * kBlock<T>;
  }

  LayerPlaces<T> places_;
  T gain_;
  LayerPassOptions options_;
  int num_keys_;
  int positions_ = 0;
  std::vector<KeyRows<T>> keys_;
  std::vector<int> sparse_keys_;
  std::vector<DenseKey> dense_keys_;
  Attention<T> attention_;

  AlignedArray<Term> terms_;         // of all positions, by position and sparse key
  AlignedArray<int32_t> terms_end_;  // [positions_max, sparse keys] index past the key's last term
  AlignedArray<int32_t> dense_row_;  // [positions_max, dense keys]
  AlignedArray<T> dense_coefficient_;  // [positions_max, dense keys] g A_k
  AlignedArray<T> initial_;            // [blocks * kBlock] bias, and -inf past N

  AlignedArray<T> max_;       // [positions_max] running maximum of logits
  AlignedArray<double> sum_;  // [positions_max] sum of exp(logit - max_)
  AlignedArray<T> target_logit_;
  AlignedArray<uint8_t> target_leads_;  // no logit before the target's is as large
  // In training and in lower layers:
  AlignedArray<T> stored_;  // [blocks, positions, kBlock] exponentials (or logits); later dL/dz of
                            // a lower layer (or where logits were shown)
  AlignedArray<T> reference_;  // [blocks, positions] what the block's exponentials are relative to,
                               // then what turns them into probabilities
  AlignedArray<T> outputs_, d_outputs_;  // lower layers: [positions_max, outputs_stride]
  // In training:
  AlignedArray<T> weighted_;       // [positions_max, NK, lanes] A_k dL/dA_k, lane by lane
  AlignedArray<T> weighted_sums_;  // [positions_max, NK]
  std::vector<T*> dx_;             // per key: DenseKey::d_rows of o keys, else null
};

}  // namespace saffron
