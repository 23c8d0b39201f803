#include "core/layers/layer_stack.h"

#include <algorithm>
#include <numeric>
#include <set>

#include "core/layers/softmax_loss.h"

namespace saffron {

template <typename T>
LayerStack<T>::LayerStack(const std::vector<LayerPlaces<T>>& places, const std::vector<T>& gains,
                          const FeatureTables& features, int targets_max, bool train)
    : places_(places), padding_(features.padding), token_begin_(features.cipher.rows() + 1) {
  const int layers = static_cast<int>(places.size());
  levels_.resize(layers);
  targets_.reserve(targets_max);
  ascending_.reserve(targets_max);
  z_.resize(places.back().shape->outputs);
  // A layer is needed at t - d for every target t and every d of these.
  std::set<int> offsets = {0};
  std::vector<int> positions_max(layers);
  for (int layer = layers - 1; layer >= 0; --layer) {
    Level& level = levels_[layer];
    positions_max[layer] = targets_max * static_cast<int>(offsets.size());
    std::set<int> below;
    const std::vector<KeySpec>& keys = places[layer].shape->keys;
    for (int k = 0; k < static_cast<int>(keys.size()); ++k) {
      if (keys[k].stream != Stream::kLower) continue;
      level.lower_keys.push_back(k);
      level.slots.emplace_back().reserve(positions_max[layer]);
      for (const int offset : offsets) below.insert(offset + keys[k].lag - 1);
    }
    // Before duplicates go, a list holds a position for every o key of every upper position.
    level.positions.reserve(positions_max[layer]);
    if (layer > 0) {
      levels_[layer - 1].positions.reserve(positions_max[layer] * level.lower_keys.size());
    }
    offsets = std::move(below);
  }
  for (int layer = 0; layer < layers; ++layer) {
    passes_.emplace_back(
        places_[layer], gains[layer], features,
        LayerPassOptions{
            .positions_max = positions_max[layer], .train = train, .lower = layer < layers - 1});
  }
}

template <typename T>
bool LayerStack<T>::ok() const {
  return std::ranges::all_of(passes_, [](const LayerPass<T>& pass) { return pass.ok(); });
}

template <typename T>
Evaluation LayerStack<T>::Forward(const T* arena, absl::Span<const int32_t> stream,
                                  absl::Span<const int64_t> positions) {
  ForwardToTop(arena, stream, positions);
  passes_.back().Forward(arena, targets_);
  return passes_.back().Result();
}

template <typename T>
double LayerStack<T>::ForwardShown(const T* arena, absl::Span<const int32_t> stream,
                                   absl::Span<const int64_t> positions, T scale,
                                   const OnLogits& on_logits) {
  ForwardToTop(arena, stream, positions);
  LayerPass<T>& top = passes_.back();
  top.ForwardLogits(arena);
  const std::vector<int64_t>& at = levels_.back().positions;
  ascending_.resize(at.size());
  std::iota(ascending_.begin(), ascending_.end(), 0);
  std::ranges::sort(ascending_,
                    [&](int32_t a, int32_t b) { return at[a] != at[b] ? at[a] < at[b] : a < b; });
  double nats = 0;
  for (const int32_t m : ascending_) {
    top.CopyLogits(m, z_.data());
    on_logits(at[m], z_.data());
    if (scale == 0) continue;
    nats += SoftmaxGradientInPlace(z_.data(), static_cast<int64_t>(z_.size()), targets_[m], scale);
    top.SetLogitGradient(m, z_.data());
  }
  return nats;
}

template <typename T>
void LayerStack<T>::ForwardToTop(const T* arena, absl::Span<const int32_t> stream,
                                 absl::Span<const int64_t> positions) {
  const int top = num_layers() - 1;
  SortByLastToken(stream, positions);
  for (int layer = top; layer > 0; --layer) {
    const std::vector<KeySpec>& keys = places_[layer].shape->keys;
    FindLowerPositions(levels_[layer], keys, levels_[layer - 1]);
    FindSlots(levels_[layer - 1], keys, levels_[layer]);
  }
  for (int layer = 0; layer <= top; ++layer) {
    LayerPass<T>& pass = passes_[layer];
    const Level& level = levels_[layer];
    pass.Load(stream, level.positions);
    for (size_t i = 0; i < level.lower_keys.size(); ++i) {
      pass.LoadLower(level.lower_keys[i], passes_[layer - 1], level.slots[i]);
    }
    if (layer == top) continue;
    pass.Forward(arena, {});
    pass.MakeOutputs();
  }
}

// Targets in the order of the token before them (equal ones as given): what is gathered for one is
// still in the cache for the next.
template <typename T>
void LayerStack<T>::SortByLastToken(absl::Span<const int32_t> stream,
                                    absl::Span<const int64_t> positions) {
  const auto last = [&](int64_t t) {
    return t < 1 ? padding_ : stream[static_cast<size_t>(t - 1)];
  };
  std::ranges::fill(token_begin_, 0);
  for (const int64_t t : positions) ++token_begin_[last(t) + 1];
  for (size_t w = 1; w < token_begin_.size(); ++w) token_begin_[w] += token_begin_[w - 1];
  std::vector<int64_t>& sorted = levels_.back().positions;
  sorted.resize(positions.size());
  targets_.resize(positions.size());
  for (const int64_t t : positions) {
    const int32_t at = token_begin_[last(t)]++;
    sorted[at] = t;
    targets_[at] = stream[static_cast<size_t>(t)];
  }
}

// Lag k of stream o reads the lower layer's output at position t - k + 1.
template <typename T>
void LayerStack<T>::FindLowerPositions(const Level& upper, const std::vector<KeySpec>& keys,
                                       Level& lower) {
  lower.positions.clear();
  for (const int k : upper.lower_keys) {
    for (const int64_t t : upper.positions) lower.positions.push_back(t - keys[k].lag + 1);
  }
  std::ranges::sort(lower.positions);
  const auto repeated = std::ranges::unique(lower.positions);
  lower.positions.erase(repeated.begin(), repeated.end());
}

template <typename T>
void LayerStack<T>::FindSlots(const Level& lower, const std::vector<KeySpec>& keys, Level& upper) {
  for (size_t i = 0; i < upper.lower_keys.size(); ++i) {
    const int lag = keys[upper.lower_keys[i]].lag;
    upper.slots[i].clear();
    for (const int64_t t : upper.positions) {
      const auto at = std::ranges::lower_bound(lower.positions, t - lag + 1);
      upper.slots[i].push_back(static_cast<int32_t>(at - lower.positions.begin()));
    }
  }
}

template <typename T>
void LayerStack<T>::Backward(const T* arena, T scale, bool first, T* gradient) {
  passes_.back().BackwardFromTargets(arena, targets_, scale, first, gradient);
  BackwardBelowTop(arena, first, gradient);
}

template <typename T>
void LayerStack<T>::BackwardShown(const T* arena, bool first, T* gradient) {
  passes_.back().BackwardFromLogits(arena, first, gradient);
  BackwardBelowTop(arena, first, gradient);
}

template <typename T>
void LayerStack<T>::BackwardBelowTop(const T* arena, bool first, T* gradient) {
  for (int layer = num_layers() - 1; layer > 0; --layer) {
    PassDown(layer);
    passes_[layer - 1].BackwardFromOutputs(arena, first, gradient);
  }
}

// Adds up, for every output of the layer below `upper`, the gradients of the o rows made from it.
template <typename T>
void LayerStack<T>::PassDown(int upper) {
  const Level& level = levels_[upper];
  LayerPass<T>& lower = passes_[upper - 1];
  const int64_t stride = lower.outputs_stride();
  std::fill_n(lower.d_outputs(), lower.positions() * stride, T{0});
  for (size_t i = 0; i < level.lower_keys.size(); ++i) {
    const int k = level.lower_keys[i];
    const int dim = passes_[upper].key(k).dim(), row_stride = passes_[upper].key(k).stride();
    const T* row = passes_[upper].d_lower(k);
    for (const int32_t slot : level.slots[i]) {
      T* to = lower.d_outputs() + slot * stride;
      for (int j = 0; j < dim; ++j) to[j] += row[j];
      row += row_stride;
    }
  }
}

template class LayerStack<float>;
template class LayerStack<double>;

}  // namespace saffron
