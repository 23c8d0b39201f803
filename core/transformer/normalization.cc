#include "core/transformer/normalization.h"

#include <cmath>

#include "core/math/lanes.h"

namespace saffron {

template <typename T>
void NormForward(int64_t rows, int64_t n, const NormWeights<T>& w, Rows<T> x, Rows<T> y,
                 NormState<T> state) {
  const bool centred = w.kind == NormKind::kLayer;
  for (int64_t i = 0; i < rows; ++i) {
    const T* const in = x.row(i);
    T* const out = y.row(i);
    T mean = 0;
    if (centred) {
      mean = SumLanes<T>(n, [=]<typename S>(int64_t j) { return S::Load(in + j); }) /
             static_cast<T>(n);
      state.mean[i] = mean;
    }
    const T square = SumLanes<T>(n, [=]<typename S>(int64_t j) {
      const auto d = S::Sub(S::Load(in + j), S::Broadcast(mean));
      return S::Mul(d, d);
    });
    const T scale = 1 / std::sqrt(square / static_cast<T>(n) + static_cast<T>(w.epsilon));
    state.scale[i] = scale;
    ForLanes<T>(n, [=]<typename S>(int64_t j) {
      const auto d = S::Sub(S::Load(in + j), S::Broadcast(mean));
      const auto v = S::Mul(S::Mul(d, S::Broadcast(scale)), S::Load(w.gain + j));
      S::Store(out + j, w.bias == nullptr ? v : S::Add(v, S::Load(w.bias + j)));
    });
  }
}

template <typename T>
void NormBackward(int64_t rows, int64_t n, const NormWeights<T>& w, Rows<T> x,
                  const NormState<T>& state, Rows<T> dy, Rows<T> dx, T* dgain, T* dbias) {
  const bool centred = w.kind == NormKind::kLayer;
  for (int64_t i = 0; i < rows; ++i) {
    const T* const in = x.row(i);
    const T* const up = dy.row(i);
    T* const down = dx.row(i);
    const T scale = state.scale[i], mean = centred ? state.mean[i] : T{0};
    const auto normed = [=]<typename S>(int64_t j) {
      return S::Mul(S::Sub(S::Load(in + j), S::Broadcast(mean)), S::Broadcast(scale));
    };
    const T along = SumLanes<T>(n,
                                [=]<typename S>(int64_t j) {
                                  const auto u = S::Mul(S::Load(up + j), S::Load(w.gain + j));
                                  return S::Mul(u, normed.template operator()<S>(j));
                                }) /
                    static_cast<T>(n);
    const T offset = !centred ? T{0} : SumLanes<T>(n, [=]<typename S>(int64_t j) {
                                         return S::Mul(S::Load(up + j), S::Load(w.gain + j));
                                       }) / static_cast<T>(n);
    ForLanes<T>(n, [=]<typename S>(int64_t j) {
      const auto v = normed.template operator()<S>(j), d = S::Load(up + j);
      S::Store(dgain + j, S::MulAdd(d, v, S::Load(dgain + j)));
      if (dbias != nullptr) S::Store(dbias + j, S::Add(d, S::Load(dbias + j)));
      const auto u = S::Sub(S::Mul(d, S::Load(w.gain + j)), S::Broadcast(offset));
      const auto inner = S::Sub(u, S::Mul(v, S::Broadcast(along)));
      S::Store(down + j, S::MulAdd(S::Broadcast(scale), inner, S::Load(down + j)));
    });
  }
}

#define SAFFRON_INSTANTIATE(T)                                                            \
  template void NormForward<T>(int64_t, int64_t, const NormWeights<T>&, Rows<T>, Rows<T>, \
                               NormState<T>);                                             \
  template void NormBackward<T>(int64_t, int64_t, const NormWeights<T>&, Rows<T>,         \
                                const NormState<T>&, Rows<T>, Rows<T>, T*, T*);
SAFFRON_INSTANTIATE(float)
SAFFRON_INSTANTIATE(double)
#undef SAFFRON_INSTANTIATE

}  // namespace saffron
