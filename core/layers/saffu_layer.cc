#include "core/layers/saffu_layer.h"

#include <algorithm>
#include <numeric>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/base/check.h"
#include "core/base/status_macros.h"
#include "core/layers/layer_places.h"
#include "core/layers/layer_stack.h"
#include "core/layers/saffu_shape.h"

namespace saffron {
namespace {

// Targets that an evaluation takes at once: many, because they share the rows of their tokens;
// fewer where rows are of one position alone (r and o keys), whose products should stay in the
// cache.
constexpr int kEvaluationChunk = 16384;
constexpr int kEvaluationChunkByPosition = 2048;

bool RowsByPosition(const std::vector<SaffuLayerShape>& shapes) {
  return std::ranges::any_of(shapes, [](const SaffuLayerShape& shape) {
    return std::ranges::any_of(shape.keys, [](const KeySpec& key) {
      return key.stream == Stream::kBag || key.stream == Stream::kLower;
    });
  });
}

template <typename T>
class StackedSaffu final : public SaffuNetwork<T> {
 public:
  StackedSaffu(const std::vector<SaffuLayerParams<T>>& layers,
               std::shared_ptr<const FeatureTables> features,
               const typename SaffuNetwork<T>::Options& options)
      : features_(std::move(features)), chunk_(options.chunk), beside_(options.beside) {
    for (const SaffuLayerParams<T>& layer : layers) {
      shapes_.push_back(layer.shape);
      gains_.push_back(layer.gain);
    }
    PlaceParameters(layers);
  }

  absl::Status Allocate(bool train) {
    const int64_t all = size_ + beside_.size();
    ASSIGN_OR_RETURN(arena_,
                     ParameterArena<T>::Create({.parameters = all, .gradients = train ? all : 0}));
    evaluation_chunk_ = RowsByPosition(shapes_) ? kEvaluationChunkByPosition : kEvaluationChunk;
    evaluation_ = std::make_unique<LayerStack<T>>(places_, gains_, *features_, evaluation_chunk_,
                                                  /*train=*/false);
    bool ok = evaluation_->ok();
    if (train) {
      T* gradient = arena_.gradients().data();
      arena_.segments() = {
          {.begin = 0, .size = decayed_, .gradient = gradient, .decay = true},
          {.begin = decayed_, .size = all - decayed_, .gradient = gradient + decayed_}};
      stack_ = std::make_unique<LayerStack<T>>(places_, gains_, *features_, chunk_, train);
      ok = ok && stack_->ok();
    }
    NameTensors();
    if (ok) return absl::OkStatus();
    return absl::ResourceExhaustedError(
        absl::StrCat("no memory for batches of ", chunk_, " targets"));
  }

  void SetParameters(const std::vector<SaffuLayerParams<T>>& layers) {
    T* arena = arena_.parameters().data();
    for (size_t l = 0; l < layers.size(); ++l) {
      ForEachParameter(static_cast<int>(l), [&](int64_t at, std::vector<T> SaffuLayerParams<T>::*v,
                                                int64_t i) { arena[at] = (layers[l].*v)[i]; });
    }
  }

  double LossAndGradient(absl::Span<const int32_t> stream,
                         absl::Span<const int64_t> positions) override {
    return Step(positions, [&](auto chunk, const T* arena, T scale, bool is_first, T* gradient) {
      const double nats = stack_->Forward(arena, stream, chunk).nats;
      stack_->Backward(arena, scale, is_first, gradient);
      return nats;
    });
  }

  double LossAndGradient(absl::Span<const int32_t> stream, absl::Span<const int64_t> positions,
                         const typename SaffuNetwork<T>::OnLogits& on_logits) override {
    return Step(positions, [&](auto chunk, const T* arena, T scale, bool is_first, T* gradient) {
      const double nats = stack_->ForwardShown(arena, stream, chunk, scale, on_logits);
      stack_->BackwardShown(arena, is_first, gradient);
      return nats;
    });
  }

  void VisitLogits(absl::Span<const int32_t> stream, absl::Span<const int64_t> positions,
                   const typename SaffuNetwork<T>::OnLogits& on_logits) override {
    CHECK(stack_ != nullptr) << "the network was made for evaluation";
    for (size_t begin = 0; begin < positions.size(); begin += chunk_) {
      stack_->ForwardShown(arena_.parameters().data(), stream, positions.subspan(begin, chunk_),
                           /*scale=*/0, on_logits);
    }
  }

  double Loss(absl::Span<const int32_t> stream, absl::Span<const int64_t> positions) override {
    CHECK(stack_ != nullptr) << "the network was made for evaluation";
    CHECK(!positions.empty()) << "empty batch";
    double nats = 0;
    for (size_t begin = 0; begin < positions.size(); begin += chunk_) {
      const auto chunk = positions.subspan(begin, chunk_);
      nats += stack_->Forward(arena_.parameters().data(), stream, chunk).nats;
    }
    return nats / static_cast<double>(positions.size());
  }

  Evaluation Evaluate(absl::Span<const int32_t> stream, int64_t first) override {
    const int64_t end = static_cast<int64_t>(stream.size());
    Evaluation total;
    for (int64_t begin = first; begin < end; begin += evaluation_chunk_) {
      evaluated_.resize(static_cast<size_t>(std::min<int64_t>(evaluation_chunk_, end - begin)));
      std::iota(evaluated_.begin(), evaluated_.end(), begin);
      EvaluateChunk(stream, evaluated_, &total);
    }
    return total;
  }

  Evaluation Evaluate(absl::Span<const int32_t> stream,
                      absl::Span<const int64_t> positions) override {
    Evaluation total;
    for (size_t begin = 0; begin < positions.size(); begin += evaluation_chunk_) {
      EvaluateChunk(stream, positions.subspan(begin, evaluation_chunk_), &total);
    }
    return total;
  }

  ParameterArena<T>& arena() override { return arena_; }

  SaffuLayerParams<T> Layer(int index) const override {
    const LayerPlaces<T>& places = places_[index];
    const SaffuLayerShape& shape = shapes_[index];
    SaffuLayerParams<T> layer;
    layer.shape = shape;
    layer.gain = gains_[index];
    layer.beta.resize(shape.num_keys());
    layer.u.resize(static_cast<size_t>(shape.InputDim()) * shape.outputs);
    if (places.has_bias) layer.bias.resize(shape.outputs);
    if (shape.attention) {
      int64_t size = 0;
      for (const KeySpec& key : shape.keys) size += int64_t{shape.keys[0].dim} * key.dim;
      layer.w.resize(size);
    }
    const T* arena = arena_.parameters().data();
    ForEachParameter(index, [&](int64_t at, std::vector<T> SaffuLayerParams<T>::*v, int64_t i) {
      (layer.*v)[i] = arena[at];
    });
    return layer;
  }

  int num_layers() const override { return static_cast<int>(shapes_.size()); }

  int64_t num_parameters() const override {
    int64_t count = 0;
    for (int l = 0; l < num_layers(); ++l) {
      ForEachParameter(l,
                       [&](int64_t, std::vector<T> SaffuLayerParams<T>::*, int64_t) { ++count; });
    }
    return count;
  }

 private:
  // Mean loss of a batch, chunk by chunk: `pass` gives the sum over one and adds to the gradient.
  template <typename Pass>
  double Step(absl::Span<const int64_t> positions, Pass pass) {
    CHECK(stack_ != nullptr) << "the network was made for evaluation";
    CHECK(!positions.empty()) << "empty batch";
    const T* arena = arena_.parameters().data();
    T* gradient = ClearedGradient();
    const T scale = static_cast<T>(1.0 / static_cast<double>(positions.size()));
    double nats = 0;
    for (size_t begin = 0; begin < positions.size(); begin += chunk_) {
      nats += pass(positions.subspan(begin, chunk_), arena, scale, begin == 0, gradient);
    }
    return nats / static_cast<double>(positions.size());
  }

  // The gradient, zero but for U's, which the first chunk sets.
  T* ClearedGradient() {
    const absl::Span<T> gradient = arena_.gradients();
    std::fill(gradient.begin() + u_end_, gradient.end(), T{0});
    return gradient.data();
  }

  void EvaluateChunk(absl::Span<const int32_t> stream, absl::Span<const int64_t> chunk,
                     Evaluation* total) {
    const Evaluation part = evaluation_->Forward(arena_.parameters().data(), stream, chunk);
    total->targets += part.targets;
    total->nats += part.nats;
    total->correct += part.correct;
  }

  // U of all layers, then W of all layers (decayed by optimisers that decay), then beta and bias.
  void PlaceParameters(const std::vector<SaffuLayerParams<T>>& layers) {
    const auto take = [this](int64_t size) {
      const int64_t begin = size_;
      size_ += (size + 63) / 64 * 64;
      return begin;
    };
    places_.resize(layers.size());
    for (size_t l = 0; l < layers.size(); ++l) {
      places_[l].shape = &shapes_[l];
      places_[l].has_bias = !layers[l].bias.empty();
      places_[l].u = take(places_[l].u_size());
    }
    u_end_ = size_;
    for (LayerPlaces<T>& places : places_) places.w = take(places.w_size());
    decayed_ = size_;
    for (LayerPlaces<T>& places : places_) {
      places.beta = take(places.shape->num_keys());
      places.bias = take(places.bias_size());
    }
  }

  void NameTensors() {
    std::vector<ParameterTensor>& tensors = arena_.tensors();
    for (int l = 0; l < num_layers(); ++l) {
      const LayerPlaces<T>& places = places_[l];
      const SaffuLayerShape& shape = shapes_[l];
      const std::string layer = absl::StrCat("layers.", l, ".");
      const bool top = l + 1 == num_layers();
      tensors.push_back({.name = layer + "u",
                         .begin = places.u,
                         .rows = shape.InputDim(),
                         .cols = shape.outputs,
                         .role = top ? TensorRole::kReadout : TensorRole::kHidden,
                         .block = kBlock<T>});
      for (int k = 0; shape.attention && k < shape.num_keys(); ++k) {
        tensors.push_back({.name = absl::StrCat(layer, "w.", k),
                           .begin = places.w_offset(k),
                           .rows = shape.keys[0].dim,
                           .cols = shape.keys[k].dim,
                           .role = TensorRole::kHidden,
                           .block = PaddedDim(shape.keys[k].dim)});
      }
      tensors.push_back({.name = layer + "beta", .begin = places.beta, .cols = shape.num_keys()});
      if (!places.has_bias) continue;
      tensors.push_back({.name = layer + "bias",
                         .begin = places.bias,
                         .cols = shape.outputs,
                         .block = kBlock<T>});
    }
    if (beside_.size() > 0) {
      tensors.push_back(beside_);
      tensors.back().begin = size_;
    }
    std::ranges::sort(tensors, {}, &ParameterTensor::begin);
  }

  // Calls f(place in the arena, member of SaffuLayerParams, index in it) for all of a layer.
  template <typename F>
  void ForEachParameter(int index, F f) const {
    using Params = SaffuLayerParams<T>;
    const LayerPlaces<T>& places = places_[index];
    const SaffuLayerShape& shape = shapes_[index];
    for (int row = 0; row < shape.InputDim(); ++row) {
      for (int i = 0; i < shape.outputs; ++i) {
        f(places.u_at(row, i), &Params::u, int64_t{row} * shape.outputs + i);
      }
    }
    int64_t w_index = 0;
    for (int k = 0; shape.attention && k < shape.num_keys(); ++k) {
      const int dim = shape.keys[k].dim;
      for (int row = 0; row < shape.keys[0].dim; ++row) {
        const int64_t at = places.w_offset(k) + int64_t{row} * PaddedDim(dim);
        for (int j = 0; j < dim; ++j) f(at + j, &Params::w, w_index++);
      }
    }
    for (int k = 0; k < shape.num_keys(); ++k) f(places.beta + k, &Params::beta, k);
    for (int i = 0; places.has_bias && i < shape.outputs; ++i) f(places.bias + i, &Params::bias, i);
  }

  std::shared_ptr<const FeatureTables> features_;
  int chunk_;
  const ParameterTensor beside_;
  std::vector<SaffuLayerShape> shapes_;
  std::vector<T> gains_;
  std::vector<LayerPlaces<T>> places_;
  int64_t u_end_ = 0, decayed_ = 0, size_ = 0;  // ends of U; of U and W; of all
  ParameterArena<T> arena_;
  std::unique_ptr<LayerStack<T>> stack_;  // in training
  std::unique_ptr<LayerStack<T>> evaluation_;
  int evaluation_chunk_ = 0;
  std::vector<int64_t> evaluated_;  // positions of the chunk
};

}  // namespace

template <typename T>
absl::StatusOr<std::unique_ptr<SaffuNetwork<T>>> SaffuNetwork<T>::Create(
    const std::vector<SaffuLayerParams<T>>& layers, std::shared_ptr<const FeatureTables> features,
    const Options& options) {
  CHECK(options.chunk >= 1);
  RETURN_IF_ERROR(CheckSaffuLayers(layers, *features));
  auto network = std::make_unique<StackedSaffu<T>>(layers, std::move(features), options);
  RETURN_IF_ERROR(network->Allocate(options.train));
  network->SetParameters(layers);
  return network;
}

template class SaffuNetwork<float>;
template class SaffuNetwork<double>;

}  // namespace saffron
