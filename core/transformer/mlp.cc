#include "core/transformer/mlp.h"

#include "core/transformer/dropout.h"

namespace saffron {
namespace {

template <typename T>
Rows<T> Below(Rows<T> x, int64_t row) {
  return x.data == nullptr ? x : Rows<T>{x.row(row), x.stride};
}

}  // namespace

template <typename T>
MlpActivations<T> MlpActivations<T>::From(int64_t row) const {
  return {Below(x, row), Below(a, row), Below(linear, row), Below(units, row), Below(mask, row)};
}

template <typename T>
MlpWeights<T> TakeMlpWeights(const TransformerShape& shape, const MlpPlaces& places,
                             int64_t mlp_width, const T* params, bool train,
                             Workspace<T>& workspace) {
  const bool gated = IsGated(shape.mlp);
  MlpWeights<T> w;
  w.w1 = workspace.TakeWeight(shape.width, mlp_width, train);
  if (gated) w.w1_linear = workspace.TakeWeight(shape.width, mlp_width, train);
  w.w2 = workspace.TakeWeight(mlp_width, shape.width, train);
  w.b1 = At(params, places.b1);
  w.b1_linear = At(params, places.b1_linear);
  w.b2 = At(params, places.b2);
  w.units = {ActivationOf(shape.mlp), gated, shape.mlp_unit_bias, At(params, places.unit_bias)};
  return w;
}

template <typename T>
MlpActivations<T> TakeMlpActivations(const TransformerShape& shape, int64_t rows, int64_t mlp_width,
                                     bool mask, Workspace<T>& workspace) {
  MlpActivations<T> at;
  at.a = workspace.TakeRows(rows, mlp_width);
  if (IsGated(shape.mlp)) at.linear = workspace.TakeRows(rows, mlp_width);
  at.units = workspace.TakeRows(rows, mlp_width);
  if (mask) at.mask = workspace.TakeRows(rows, mlp_width);
  return at;
}

template <typename T>
void PackMlp(const T* params, const MlpPlaces& places, bool backward, const MlpWeights<T>& w) {
  PackWeight(params + places.w1, backward, w.w1);
  if (w.units.gated) PackWeight(params + places.w1_linear, backward, w.w1_linear);
  PackWeight(params + places.w2, backward, w.w2);
}

template <typename T>
void MlpForward(int64_t rows, const MlpWeights<T>& w, const MlpActivations<T>& at, bool add,
                Rows<T> y) {
  LinearForward(rows, at.x, w.w1, w.b1, at.a);
  if (w.units.gated) LinearForward(rows, at.x, w.w1_linear, w.b1_linear, at.linear);
  MlpUnitsForward(rows, w.w1.out, w.units, at.a, at.linear, at.units);
  if (at.mask.data != nullptr) ApplyMask(rows, w.w1.out, at.units, at.mask, at.units);
  if (add) return LinearForwardAdd(rows, at.units, w.w2, w.b2, y);
  LinearForward(rows, at.units, w.w2, w.b2, y);
}

template <typename T>
void MlpBackward(int64_t rows, const MlpWeights<T>& w, const MlpPlaces& places,
                 const MlpActivations<T>& at, Rows<T> dy, const MlpScratch<T>& scratch, Rows<T> dx,
                 T* gradient) {
  const int64_t p = w.w1.out;
  LinearBackwardWeight(rows, at.units, dy, w.w2, gradient + places.w2, At(gradient, places.b2));
  LinearBackwardInput<false>(rows, dy, w.w2, scratch.units);
  if (at.mask.data != nullptr) ApplyMask(rows, p, scratch.units, at.mask, scratch.units);
  MlpUnitsBackward(rows, p, w.units, at.a, at.linear, scratch.units, scratch.linear,
                   At(gradient, places.unit_bias));
  LinearBackwardWeight(rows, at.x, scratch.units, w.w1, gradient + places.w1,
                       At(gradient, places.b1));
  LinearBackwardInput<false>(rows, scratch.units, w.w1, dx);
  if (!w.units.gated) return;
  LinearBackwardWeight(rows, at.x, scratch.linear, w.w1_linear, gradient + places.w1_linear,
                       At(gradient, places.b1_linear));
  LinearBackwardInput<true>(rows, scratch.linear, w.w1_linear, dx);
}

#define SAFFRON_INSTANTIATE(T)                                                                   \
  template struct MlpActivations<T>;                                                             \
  template MlpWeights<T> TakeMlpWeights<T>(const TransformerShape&, const MlpPlaces&, int64_t,   \
                                           const T*, bool, Workspace<T>&);                       \
  template MlpActivations<T> TakeMlpActivations<T>(const TransformerShape&, int64_t, int64_t,    \
                                                   bool, Workspace<T>&);                         \
  template void PackMlp<T>(const T*, const MlpPlaces&, bool, const MlpWeights<T>&);              \
  template void MlpForward<T>(int64_t, const MlpWeights<T>&, const MlpActivations<T>&, bool,     \
                              Rows<T>);                                                          \
  template void MlpBackward<T>(int64_t, const MlpWeights<T>&, const MlpPlaces&,                  \
                               const MlpActivations<T>&, Rows<T>, const MlpScratch<T>&, Rows<T>, \
                               T*);
SAFFRON_INSTANTIATE(float)
SAFFRON_INSTANTIATE(double)
#undef SAFFRON_INSTANTIATE

}  // namespace saffron
