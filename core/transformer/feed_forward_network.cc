#include "core/transformer/feed_forward_network.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "core/base/check.h"
#include "core/base/random.h"
#include "core/base/status_macros.h"
#include "core/transformer/cross_entropy.h"
#include "core/transformer/dense_arena.h"

namespace saffron {
namespace {

// As of a transformer's chunks and blocks of logits, whose measurements stand there.
constexpr int64_t kChunkRows = 192, kLogitRows = 48;
constexpr double kEpsilon = 1e-5;

}  // namespace

template <typename T>
FeedForwardNetwork<T>::FeedForwardNetwork(const FeedForwardShape& shape, const Options& options)
    : shape_(shape), options_(options), layers_(static_cast<size_t>(shape.layers)) {}

template <typename T>
absl::StatusOr<std::unique_ptr<FeedForwardNetwork<T>>> FeedForwardNetwork<T>::Create(
    const FeedForwardShape& shape, const Options& options) {
  CHECK(shape.vocab > 0 && shape.context > 0 && shape.width > 0 && shape.layers > 0 &&
        shape.hidden > 0)
      << shape.layers << " layers of " << shape.hidden << " on " << shape.context << " times "
      << shape.width;
  CHECK(options.dropout >= 0 && options.dropout < 1) << "dropout " << options.dropout;
  std::unique_ptr<FeedForwardNetwork> network(new FeedForwardNetwork(shape, options));
  network->LayOut();
  ASSIGN_OR_RETURN(network->arena_, MakeDenseArena<T>(network->tensors_, network->size_,
                                                      options.beside, /*train=*/true));
  network->Draw();
  ASSIGN_OR_RETURN(network->workspace_, MakeWorkspace<T>([&](Workspace<T>& workspace) {
                     network->TakeWorkspace(workspace);
                   }));
  return network;
}

template <typename T>
void FeedForwardNetwork<T>::LayOut() {
  const auto take = [&](const std::string& name, int64_t rows, int64_t cols, TensorRole role) {
    tensors_.push_back({name, size_, rows, cols, role});
    size_ += rows * cols;
    return tensors_.back().begin;
  };
  embed_ = take("tok_embed", shape_.vocab, shape_.width, TensorRole::kEmbedding);
  input_gain_ = take("input_norm.gain", 1, inputs(), TensorRole::kVector);
  for (size_t i = 0; i < layers_.size(); ++i) {
    Layer& layer = layers_[i];
    layer.in = i == 0 ? inputs() : shape_.hidden;
    const std::string name = absl::StrCat("layers.", i, ".");
    layer.w = take(name + "w", layer.in, shape_.hidden, TensorRole::kHidden);
    layer.b = take(name + "b", 1, shape_.hidden, TensorRole::kVector);
  }
  output_ = take("output", shape_.hidden, shape_.width, TensorRole::kHidden);
  output_gain_ = take("output_norm.gain", 1, shape_.width, TensorRole::kVector);
  if (shape_.tied) return;
  readout_place_ = take("readout", shape_.width, shape_.vocab, TensorRole::kReadout);
}

template <typename T>
void FeedForwardNetwork<T>::Draw() {
  uint32_t substream = 0;
  for (const ParameterTensor& tensor : tensors_) {
    const CounterRandom random(options_.seed, RandomPurpose::kWeights, substream++);
    const auto values = arena_.parameters().subspan(tensor.begin, tensor.size());
    if (tensor.role == TensorRole::kVector) {
      std::fill(values.begin(), values.end(), absl::EndsWith(tensor.name, ".gain") ? T{1} : T{0});
      continue;
    }
    const double gain = absl::EndsWith(tensor.name, ".w") ? 2 : 1;
    const double deviation = tensor.role == TensorRole::kEmbedding
                                 ? 0.02
                                 : std::sqrt(gain / static_cast<double>(tensor.rows));
    for (size_t i = 0; i < values.size(); ++i) {
      values[i] = static_cast<T>(deviation * random.Normal(i));
    }
  }
}

template <typename T>
void FeedForwardNetwork<T>::TakeWorkspace(Workspace<T>& workspace) {
  const bool drops = options_.dropout > 0;
  const auto rows = [&](int64_t n) { return workspace.TakeRows(kChunkRows, n); };
  x_ = rows(inputs());
  y0_ = rows(inputs());
  if (drops) mask0_ = rows(inputs());
  input_state_ = {workspace.Take(kChunkRows), workspace.Take(kChunkRows)};
  for (Layer& layer : layers_) {
    layer.weight = workspace.TakeWeight(layer.in, shape_.hidden, /*train=*/true);
    layer.a = rows(shape_.hidden);
    layer.out = rows(shape_.hidden);
    if (drops) layer.mask = rows(shape_.hidden);
  }
  output_weight_ = workspace.TakeWeight(shape_.hidden, shape_.width, /*train=*/true);
  u_ = rows(shape_.width);
  r_ = rows(shape_.width);
  output_state_ = {workspace.Take(kChunkRows), workspace.Take(kChunkRows)};
  readout_ = workspace.TakeWeight(shape_.width, shape_.vocab, /*train=*/true);
  z_ = workspace.TakeRows(kLogitRows, shape_.vocab);
  dr_ = rows(shape_.width);
  du_ = rows(shape_.width);
  dh_ = rows(shape_.hidden);
  dnext_ = rows(shape_.hidden);
  dy0_ = rows(inputs());
  dx_ = rows(inputs());
}

template <typename T>
void FeedForwardNetwork<T>::Pack(bool backward) {
  const T* const params = arena_.parameters().data();
  for (const Layer& layer : layers_) PackWeight(params + layer.w, backward, layer.weight);
  PackWeight(params + output_, backward, output_weight_);
  if (shape_.tied) {
    PackWeightTransposed(params + embed_, backward, readout_);
  } else {
    PackWeight(params + readout_place_, backward, readout_);
  }
}

template <typename T>
NormWeights<T> FeedForwardNetwork<T>::Norm(int64_t gain) const {
  return {NormKind::kRms, kEpsilon, arena_.parameters().data() + gain, nullptr};
}

template <typename T>
void FeedForwardNetwork<T>::Drop(uint32_t site, int64_t step, int64_t first, int64_t rows,
                                 int64_t n, Rows<T> y, Rows<T> mask) const {
  if (step == 0 || options_.dropout == 0) return;
  FillDropoutMask({.rate = options_.dropout, .seed = options_.seed, .step = step, .site = site},
                  first, rows, n, mask);
  ApplyMask(rows, n, y, mask, y);
}

template <typename T>
void FeedForwardNetwork<T>::Forward(const int32_t* contexts, int64_t first, int64_t rows,
                                    int64_t step) {
  const int64_t n = shape_.context, width = shape_.width;
  const T* const params = arena_.parameters().data();
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t k = 0; k < n; ++k) {
      const int32_t token = contexts[(first + r) * n + k];
      T* const x = x_.row(r) + k * width;
      if (token < 0) {
        std::fill_n(x, width, T{0});
      } else {
        std::copy_n(params + embed_ + token * width, width, x);
      }
    }
  }
  NormForward(rows, inputs(), Norm(input_gain_), x_, y0_, input_state_);
  Drop(0, step, first, rows, inputs(), y0_, mask0_);
  for (size_t i = 0; i < layers_.size(); ++i) {
    Layer& layer = layers_[i];
    LinearForward(rows, InputOf(i), layer.weight, params + layer.b, layer.a);
    MlpUnitsForward(rows, shape_.hidden, units_, layer.a, {}, layer.out);
    Drop(static_cast<uint32_t>(i + 1), step, first, rows, shape_.hidden, layer.out, layer.mask);
  }
  LinearForward<T>(rows, InputOf(layers_.size()), output_weight_, nullptr, u_);
  NormForward(rows, width, Norm(output_gain_), u_, r_, output_state_);
}

template <typename T>
void FeedForwardNetwork<T>::LogitsOf(int64_t row, int64_t rows) {
  LinearForward<T>(rows, {r_.row(row), r_.stride}, readout_, nullptr, z_);
}

template <typename T>
double FeedForwardNetwork<T>::ReadoutBackward(int64_t first, int64_t rows, const int32_t* targets,
                                              double scale, const OnLogits& on_logits) {
  T* const gradient = arena_.gradients().data();
  double loss = 0;
  ForParts(rows, kLogitRows, [&](int64_t row, int64_t count) {
    const Rows<T> in{r_.row(row), r_.stride};
    LogitsOf(row, count);
    if (on_logits != nullptr) on_logits(first + row, count, z_);
    loss += CrossEntropyGradient(count, shape_.vocab, targets + first + row, /*smoothing=*/0, scale,
                                 z_);
    LinearBackwardInput<false>(count, z_, readout_, Rows<T>{dr_.row(row), dr_.stride});
    if (shape_.tied) {
      // The embedding is the readout's transpose: its gradient is dz' r.
      LinearBackwardWeight<T>(count, z_, in, readout_.Transposed(), gradient + embed_, nullptr);
    } else {
      LinearBackwardWeight<T>(count, in, z_, readout_, gradient + readout_place_, nullptr);
    }
  });
  return loss;
}

template <typename T>
void FeedForwardNetwork<T>::Backward(const int32_t* contexts, int64_t rows, bool dropped) {
  const int64_t n = shape_.context, width = shape_.width;
  T* const gradient = arena_.gradients().data();
  const auto undo_norm = [&](int64_t size, int64_t gain, Rows<T> x, const NormState<T>& state,
                             Rows<T> dy, Rows<T> dx) {
    std::fill_n(dx.data, rows * dx.stride, T{0});
    NormBackward<T>(rows, size, Norm(gain), x, state, dy, dx, gradient + gain, nullptr);
  };
  undo_norm(width, output_gain_, u_, output_state_, dr_, du_);
  LinearBackwardWeight<T>(rows, InputOf(layers_.size()), du_, output_weight_, gradient + output_,
                          nullptr);
  LinearBackwardInput<false>(rows, du_, output_weight_, dh_);
  for (size_t i = layers_.size(); i-- > 0;) {
    const Layer& layer = layers_[i];
    if (dropped) ApplyMask(rows, shape_.hidden, dh_, layer.mask, dh_);
    MlpUnitsBackward<T>(rows, shape_.hidden, units_, layer.a, {}, dh_, {}, nullptr);
    LinearBackwardWeight(rows, InputOf(i), dh_, layer.weight, gradient + layer.w,
                         gradient + layer.b);
    LinearBackwardInput<false>(rows, dh_, layer.weight, i == 0 ? dy0_ : dnext_);
    std::swap(dh_, dnext_);
  }
  if (dropped) ApplyMask(rows, inputs(), dy0_, mask0_, dy0_);
  undo_norm(inputs(), input_gain_, x_, input_state_, dy0_, dx_);
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t k = 0; k < n; ++k) {
      const int32_t token = contexts[r * n + k];
      if (token < 0) continue;
      const T* const dx = dx_.row(r) + k * width;
      T* const to = gradient + embed_ + token * width;
      for (int64_t j = 0; j < width; ++j) to[j] += dx[j];
    }
  }
}

template <typename T>
double FeedForwardNetwork<T>::LossAndGradient(absl::Span<const int32_t> contexts,
                                              absl::Span<const int32_t> targets, int64_t step,
                                              const OnLogits& on_logits) {
  const auto batch = static_cast<int64_t>(targets.size());
  CHECK(batch > 0 && static_cast<int64_t>(contexts.size()) == batch * shape_.context)
      << contexts.size() << " tokens before " << batch << " targets";
  std::fill(arena_.gradients().begin(), arena_.gradients().end(), T{0});
  Pack(/*backward=*/true);
  double loss = 0;
  ForParts(batch, kChunkRows, [&](int64_t first, int64_t rows) {
    Forward(contexts.data(), first, rows, step);
    loss +=
        ReadoutBackward(first, rows, targets.data(), 1.0 / static_cast<double>(batch), on_logits);
    Backward(contexts.data() + first * shape_.context, rows, step != 0 && options_.dropout > 0);
  });
  return loss / static_cast<double>(batch);
}

template <typename T>
void FeedForwardNetwork<T>::VisitLogits(absl::Span<const int32_t> contexts,
                                        const OnLogits& on_logits) {
  Pack(/*backward=*/false);
  ForParts(static_cast<int64_t>(contexts.size()) / shape_.context, kChunkRows,
           [&](int64_t first, int64_t rows) {
             Forward(contexts.data(), first, rows, /*step=*/0);
             ForParts(rows, kLogitRows, [&](int64_t row, int64_t count) {
               LogitsOf(row, count);
               on_logits(first + row, count, z_);
             });
           });
}

template class FeedForwardNetwork<float>;
template class FeedForwardNetwork<double>;

}  // namespace saffron
