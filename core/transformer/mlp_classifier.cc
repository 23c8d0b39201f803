#include "core/transformer/mlp_classifier.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "core/base/check.h"
#include "core/base/random.h"
#include "core/base/status_macros.h"
#include "core/transformer/cross_entropy.h"
#include "core/transformer/dense_arena.h"

namespace saffron {

std::vector<ParameterTensor> MlpTensors(const MlpShape& shape) {
  std::vector<ParameterTensor> tensors;
  int64_t size = 0;
  const auto add = [&](const std::string& name, int64_t rows, int64_t cols, TensorRole role) {
    tensors.push_back({name, size, rows, cols, role});
    size += rows * cols;
  };
  int64_t in = shape.inputs;
  for (int i = 0; i < shape.layers; ++i) {
    const std::string name = absl::StrCat("layers.", i, ".");
    add(name + "w1", in, shape.width, TensorRole::kHidden);
    add(name + "b1", 1, shape.width, TensorRole::kVector);
    if (IsGated(shape.kind)) {
      add(name + "w1_linear", in, shape.width, TensorRole::kHidden);
      add(name + "b1_linear", 1, shape.width, TensorRole::kVector);
    }
    in = shape.width;
  }
  add("readout", in, shape.classes, TensorRole::kReadout);
  add("readout_bias", 1, shape.classes, TensorRole::kVector);
  return tensors;
}

template <typename T>
MlpClassifier<T>::MlpClassifier(const MlpShape& shape, const Options& options)
    : shape_(shape), options_(options), layers_(static_cast<size_t>(shape.layers)) {}

template <typename T>
absl::StatusOr<std::unique_ptr<MlpClassifier<T>>> MlpClassifier<T>::Create(const MlpShape& shape,
                                                                           const Options& options) {
  CHECK(shape.inputs > 0 && shape.classes > 0 && shape.layers >= 0 &&
        (shape.width > 0 || shape.layers == 0))
      << "an MLP of " << shape.layers << " layers of " << shape.width;
  std::unique_ptr<MlpClassifier> model(new MlpClassifier(shape, options));
  model->LayOut();
  ASSIGN_OR_RETURN(model->arena_,
                   MakeDenseArena<T>(model->tensors_, model->size_, {}, /*train=*/true));
  model->Draw();
  ASSIGN_OR_RETURN(model->workspace_, MakeWorkspace<T>([&](Workspace<T>& workspace) {
                     model->TakeWorkspace(workspace);
                   }));
  model->targets_.resize(options.batch_max);
  return model;
}

template <typename T>
void MlpClassifier<T>::LayOut() {
  tensors_ = MlpTensors(shape_);
  size_ = tensors_.back().begin + tensors_.back().size();
  auto next = tensors_.begin();
  const auto take = [&] { return (next++)->begin; };
  for (Layer& layer : layers_) {
    layer.in = next->rows;
    layer.w1 = take();
    layer.b1 = take();
    if (!IsGated(shape_.kind)) continue;
    layer.w1_linear = take();
    layer.b1_linear = take();
  }
  readout_.in = next->rows;
  readout_.out = shape_.classes;
  readout_place_ = take();
  readout_bias_ = take();
}

template <typename T>
void MlpClassifier<T>::Draw() {
  const CounterRandom random(options_.seed, RandomPurpose::kWeights);
  for (const ParameterTensor& tensor : tensors_) {
    if (tensor.role == TensorRole::kVector) continue;
    const double gain = tensor.role == TensorRole::kReadout ? 1 : 2;
    const double deviation = std::sqrt(gain / static_cast<double>(tensor.rows));
    for (int64_t i = tensor.begin; i < tensor.begin + tensor.size(); ++i) {
      arena_.parameters()[i] = static_cast<T>(deviation * random.Normal(static_cast<uint64_t>(i)));
    }
  }
}

template <typename T>
void MlpClassifier<T>::TakeWorkspace(Workspace<T>& workspace) {
  const int64_t rows = options_.batch_max;
  const auto weight = [&](int64_t in, int64_t out) {
    return workspace.TakeWeight(in, out, /*train=*/true);
  };
  x_ = workspace.TakeRows(rows, shape_.inputs);
  for (Layer& layer : layers_) {
    layer.weight = weight(layer.in, shape_.width);
    layer.a = workspace.TakeRows(rows, shape_.width);
    layer.out = workspace.TakeRows(rows, shape_.width);
    if (options_.dropout > 0) layer.mask = workspace.TakeRows(rows, shape_.width);
    if (!IsGated(shape_.kind)) continue;
    layer.linear_weight = weight(layer.in, shape_.width);
    layer.linear = workspace.TakeRows(rows, shape_.width);
  }
  readout_ = weight(readout_.in, readout_.out);
  z_ = workspace.TakeRows(rows, shape_.classes);
  dx_ = workspace.TakeRows(rows, shape_.width);
  dnext_ = workspace.TakeRows(rows, shape_.width);
  if (IsGated(shape_.kind)) dlinear_ = workspace.TakeRows(rows, shape_.width);
}

template <typename T>
void MlpClassifier<T>::Pack() {
  const T* const params = arena_.parameters().data();
  const auto pack = [&](int64_t place, const PackedWeight<T>& w) {
    PackWeight(params + place, /*backward=*/true, w);
  };
  for (const Layer& layer : layers_) {
    pack(layer.w1, layer.weight);
    if (IsGated(shape_.kind)) pack(layer.w1_linear, layer.linear_weight);
  }
  pack(readout_place_, readout_);
}

template <typename T>
void MlpClassifier<T>::Forward(int64_t rows, int64_t step) {
  const T* const params = arena_.parameters().data();
  for (size_t i = 0; i < layers_.size(); ++i) {
    Layer& layer = layers_[i];
    LinearForward(rows, InputOf(i), layer.weight, params + layer.b1, layer.a);
    if (IsGated(shape_.kind)) {
      LinearForward(rows, InputOf(i), layer.linear_weight, params + layer.b1_linear, layer.linear);
    }
    MlpUnitsForward(rows, shape_.width, units(), layer.a, layer.linear, layer.out);
    if (step < 0 || options_.dropout == 0) continue;
    const DropoutSite site{.rate = step > 0 ? options_.dropout : 0,
                           .seed = options_.seed,
                           .step = step,
                           .site = static_cast<uint32_t>(i)};
    FillDropoutMask(site, 0, rows, shape_.width, layer.mask);
    ApplyMask(rows, shape_.width, layer.out, layer.mask, layer.out);
  }
  LinearForward(rows, InputOf(layers_.size()), readout_, params + readout_bias_, z_);
}

template <typename T>
double MlpClassifier<T>::LossAndGradient(const ConstMatrixRef<float>& x,
                                         absl::Span<const int32_t> y,
                                         absl::Span<const int64_t> examples, int64_t step) {
  const auto rows = static_cast<int64_t>(examples.size());
  CHECK(rows >= 1 && rows <= options_.batch_max && step >= 0)
      << rows << " examples at step " << step;
  for (int64_t r = 0; r < rows; ++r) {
    const float* const example = x.row(examples[r]).data();
    std::copy_n(example, shape_.inputs, x_.row(r));
    targets_[r] = y[examples[r]];
  }
  Pack();
  Forward(rows, step);
  std::fill(arena_.gradients().begin(), arena_.gradients().end(), T{0});
  T* const gradient = arena_.gradients().data();
  const double loss = CrossEntropyGradient(rows, shape_.classes, targets_.data(),
                                           options_.label_smoothing, 1.0 / rows, z_);
  LinearBackwardWeight(rows, InputOf(layers_.size()), z_, readout_, gradient + readout_place_,
                       gradient + readout_bias_);
  if (!layers_.empty()) LinearBackwardInput<false>(rows, z_, readout_, dx_);
  for (size_t i = layers_.size(); i-- > 0;) {
    Layer& layer = layers_[i];
    if (options_.dropout > 0) ApplyMask(rows, shape_.width, dx_, layer.mask, dx_);
    MlpUnitsBackward<T>(rows, shape_.width, units(), layer.a, layer.linear, dx_, dlinear_, nullptr);
    LinearBackwardWeight(rows, InputOf(i), dx_, layer.weight, gradient + layer.w1,
                         gradient + layer.b1);
    if (IsGated(shape_.kind)) {
      LinearBackwardWeight(rows, InputOf(i), dlinear_, layer.linear_weight,
                           gradient + layer.w1_linear, gradient + layer.b1_linear);
    }
    if (i == 0) break;
    LinearBackwardInput<false>(rows, dx_, layer.weight, dnext_);
    if (IsGated(shape_.kind)) {
      LinearBackwardInput<true>(rows, dlinear_, layer.linear_weight, dnext_);
    }
    std::swap(dx_, dnext_);
  }
  return loss / static_cast<double>(rows);
}

template <typename T>
Evaluation MlpClassifier<T>::Evaluate(const ConstMatrixRef<float>& x, absl::Span<const int32_t> y) {
  Evaluation result;
  Pack();
  for (int64_t begin = 0; begin < x.rows(); begin += options_.batch_max) {
    const int64_t rows = std::min<int64_t>(options_.batch_max, x.rows() - begin);
    for (int64_t r = 0; r < rows; ++r) {
      std::copy_n(x.row(begin + r).data(), shape_.inputs, x_.row(r));
    }
    Forward(rows, -1);
    CrossEntropyEvaluate(rows, shape_.classes, y.data() + begin, z_, result);
  }
  return result;
}

template class MlpClassifier<float>;
template class MlpClassifier<double>;

}  // namespace saffron
