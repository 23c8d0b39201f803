#pragma once
// The layers of a network over one batch of targets: which positions each layer must be evaluated
// at, forward from the bottom, backward from the top.

#include <cstdint>
#include <functional>
#include <vector>

#include "absl/types/span.h"
#include "core/layers/evaluation.h"
#include "core/layers/layer_pass.h"

namespace saffron {

template <typename T>
class LayerStack {
 public:
  // Layers bottom first; at most `targets_max` targets at a time.
  LayerStack(const std::vector<LayerPlaces<T>>& places, const std::vector<T>& gains,
             const FeatureTables& features, int targets_max, bool train);
  // Whether all memory was there.
  bool ok() const;

  // Losses of the targets stream[t], t in `positions`.
  Evaluation Forward(const T* arena, absl::Span<const int32_t> stream,
                     absl::Span<const int64_t> positions);
  // The same where `on_logits` is given z[outputs], the logits of target t, for ascending t, and
  // may add to them. `scale` is that of a Backward with `shown`; 0: there will be none, and losses
  // are not taken. In training alone.
  using OnLogits = std::function<void(int64_t t, T* z)>;
  double ForwardShown(const T* arena, absl::Span<const int32_t> stream,
                      absl::Span<const int64_t> positions, T scale, const OnLogits& on_logits);
  // Adds the gradient of scale * (sum of the losses of the last Forward) to `gradient`; where
  // `first`, the part that belongs to U is set instead.
  void Backward(const T* arena, T scale, bool first, T* gradient);
  // The same after ForwardShown, which had the scale.
  void BackwardShown(const T* arena, bool first, T* gradient);

 private:
  // What a layer needs of the one below it.
  struct Level {
    std::vector<int64_t> positions;  // where the layer is evaluated; ascending below the top
    std::vector<int> lower_keys;     // the o keys
    std::vector<std::vector<int32_t>> slots;  // per o key: row of the lower layer's outputs
  };

  // All below the top layer's softmax.
  void ForwardToTop(const T* arena, absl::Span<const int32_t> stream,
                    absl::Span<const int64_t> positions);
  void BackwardBelowTop(const T* arena, bool first, T* gradient);
  void SortByLastToken(absl::Span<const int32_t> stream, absl::Span<const int64_t> positions);
  void FindLowerPositions(const Level& upper, const std::vector<KeySpec>& keys, Level& lower);
  void FindSlots(const Level& lower, const std::vector<KeySpec>& keys, Level& upper);
  void PassDown(int upper);

  int num_layers() const { return static_cast<int>(passes_.size()); }

  std::vector<LayerPlaces<T>> places_;
  int32_t padding_;
  std::vector<LayerPass<T>> passes_;
  std::vector<Level> levels_;
  std::vector<int32_t> targets_;      // of the top layer's positions
  std::vector<int32_t> token_begin_;  // [V + 1] for the sort
  std::vector<int32_t> ascending_;    // the top layer's positions in their order
  std::vector<T> z_;                  // [outputs] of one of them
};

}  // namespace saffron
