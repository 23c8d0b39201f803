#pragma once
// A feed-forward language model over the last few tokens: their embeddings side by side, hidden
// layers, logits. After Bengio, Ducharme, Vincent & Jauvin, "A neural probabilistic language
// model", JMLR 2003, with today's units, norms and tied readout.
//
//   x = [E w_1 ... E w_n]     w_k the token k before the target; zero where there is none
//   y_0 = drop(norm(x)),  y_l = drop(gelu(y_{l-1} W_l + b_l)),  r = norm(y_L P)
//   z = r E'  (tied)  or  r R
//
// Tensors: tok_embed [vocab, width], input_norm.gain [n width], layers.I.w [in, hidden] and .b,
// output [hidden, width], output_norm.gain [width], readout [width, vocab] (untied).
//
// Worked through in chunks of rows as a transformer is (transformer_network.h). Not thread-safe.
// Same inputs, same bits. No memory is allocated after Create.

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "core/math/aligned_array.h"
#include "core/math/parameter_arena.h"
#include "core/transformer/activation.h"
#include "core/transformer/dropout.h"
#include "core/transformer/normalization.h"
#include "core/transformer/workspace.h"

namespace saffron {

// Every size >= 1.
struct FeedForwardShape {
  int vocab = 0;
  int context = 1;  // n
  int width = 1;    // of an embedding
  int layers = 1;   // hidden ones
  int hidden = 1;   // width of each
  bool tied = true;
};

template <typename T>
class FeedForwardNetwork {
 public:
  struct Options {
    double dropout = 0;           // in [0, 1)
    uint64_t seed = 0;            // of the draws of parameters and of dropout
    ParameterTensor beside = {};  // as of TransformerNetwork::Options
  };
  // Is given logits z[r] of rows `first_row` + r and may add to them what does not depend on the
  // network's parameters.
  using OnLogits = std::function<void(int64_t first_row, int64_t rows, Rows<T> z)>;

  // Drawn normal: embeddings of deviation 0.02, so that logits start near zero, hidden layers
  // sqrt(2 / inputs) (He et al., 2015), what is linear sqrt(1 / inputs); gains 1, biases 0.
  // RESOURCE_EXHAUSTED when there is no memory.
  static absl::StatusOr<std::unique_ptr<FeedForwardNetwork>> Create(const FeedForwardShape& shape,
                                                                    const Options& options);

  // Mean loss (nats) of `targets` after contexts[targets.size(), n], of which the k-th is the token
  // k + 1 before the target or -1 for none; its gradient is left in arena(), zero for what is
  // beside. on_logits may be null. `step` chooses the dropout masks; 0: none.
  double LossAndGradient(absl::Span<const int32_t> contexts, absl::Span<const int32_t> targets,
                         int64_t step, const OnLogits& on_logits);
  // Calls on_logits for all rows of `contexts`, in order. Without dropout.
  void VisitLogits(absl::Span<const int32_t> contexts, const OnLogits& on_logits);

  ParameterArena<T>& arena() { return arena_; }
  int64_t parameters() const { return size_; }  // its own

 private:
  struct Layer {
    int64_t in = 0;
    int64_t w = -1, b = -1;  // places in the arena
    PackedWeight<T> weight;
    Rows<T> a, out, mask;
  };

  FeedForwardNetwork(const FeedForwardShape& shape, const Options& options);
  void LayOut();
  void Draw();
  void TakeWorkspace(Workspace<T>& workspace);
  void Pack(bool backward);
  int64_t inputs() const { return int64_t{shape_.context} * shape_.width; }
  Rows<T> InputOf(size_t layer) { return layer == 0 ? y0_ : layers_[layer - 1].out; }
  NormWeights<T> Norm(int64_t gain) const;
  // y <- drop(y) for the masks of `step` and this site, which `mask` keeps; step 0: nothing.
  void Drop(uint32_t site, int64_t step, int64_t first, int64_t rows, int64_t n, Rows<T> y,
            Rows<T> mask) const;
  // Contexts of rows `first` to `first` + `rows` of the batch to r_.
  void Forward(const int32_t* contexts, int64_t first, int64_t rows, int64_t step);
  void LogitsOf(int64_t row, int64_t rows);  // rows of r_ to z_
  double ReadoutBackward(int64_t first, int64_t rows, const int32_t* targets, double scale,
                         const OnLogits& on_logits);
  // From dr_ to the gradient of everything below the readout.
  void Backward(const int32_t* contexts, int64_t rows, bool dropped);
  // Calls f(first, rows) for parts of `n` rows of at most `most`.
  template <typename F>
  static void ForParts(int64_t n, int64_t most, F f) {
    for (int64_t first = 0; first < n; first += most) f(first, std::min(most, n - first));
  }

  const FeedForwardShape shape_;
  const Options options_;
  const MlpUnits<T> units_{.activation = Activation::kGelu};
  int64_t size_ = 0;
  int64_t embed_ = -1, input_gain_ = -1, output_ = -1, output_gain_ = -1, readout_place_ = -1;
  std::vector<ParameterTensor> tensors_;
  ParameterArena<T> arena_;
  AlignedArray<T> workspace_;
  std::vector<Layer> layers_;
  PackedWeight<T> output_weight_, readout_;
  Rows<T> x_, y0_, mask0_, u_, r_, z_;
  NormState<T> input_state_, output_state_;
  Rows<T> dr_, du_, dh_, dnext_, dy0_, dx_;
};

}  // namespace saffron
