#include "core/transformer/linear.h"

#include <algorithm>

#include "core/math/lanes.h"

namespace saffron {

int64_t Bf16LeftSize(int64_t rows, int64_t widest) {
  return std::max(rows * StrideOf<Bf16Pair>(Bf16Pairs(widest)),
                  Bf16Pairs(rows) * StrideOf<Bf16Pair>(widest));
}

int64_t Bf16RightSize(int64_t rows, int64_t widest) { return Bf16PackedSize(rows, widest); }

template <typename T>
void AddToRows(int64_t rows, int64_t n, const T* b, Rows<T> y) {
  for (int64_t i = 0; i < rows; ++i) {
    T* const row = y.row(i);
    ForLanes<T>(n, [=]<typename S>(int64_t j) {
      S::Store(row + j, S::Add(S::Load(row + j), S::Load(b + j)));
    });
  }
}

template <typename T>
void AddColumnSums(int64_t rows, int64_t n, Rows<T> y, T* b) {
  for (int64_t i = 0; i < rows; ++i) {
    const T* const row = y.row(i);
    ForLanes<T>(n, [=]<typename S>(int64_t j) {
      S::Store(b + j, S::Add(S::Load(b + j), S::Load(row + j)));
    });
  }
}

template <typename T>
void PackWeight(const T* from, bool backward, const PackedWeight<T>& w) {
  PackedRight<T>(w.forward, w.bf16).Pack(w.in, w.out, from, w.out);
  if (backward) PackedRight<T>(w.backward, w.bf16).PackTransposed(w.out, w.in, from, w.out);
}

template <typename T>
void PackWeightTransposed(const T* from, bool backward, const PackedWeight<T>& w) {
  PackedRight<T>(w.forward, w.bf16).PackTransposed(w.in, w.out, from, w.in);
  if (backward) PackedRight<T>(w.backward, w.bf16).Pack(w.out, w.in, from, w.in);
}

template <typename T>
void LinearForward(int64_t rows, Rows<T> x, const PackedWeight<T>& w, const T* b, Rows<T> y) {
  PackedRight<T>(w.forward, w.in, w.bf16).template Multiply<false>(rows, w.out, w.in, x, y);
  if (b != nullptr) AddToRows(rows, w.out, b, y);
}

template <typename T>
void LinearForwardAdd(int64_t rows, Rows<T> x, const PackedWeight<T>& w, const T* b, Rows<T> y) {
  PackedRight<T>(w.forward, w.in, w.bf16).template Multiply<true>(rows, w.out, w.in, x, y);
  if (b != nullptr) AddToRows(rows, w.out, b, y);
}

template <bool kAccumulate, typename T>
void LinearBackwardInput(int64_t rows, Rows<T> dy, const PackedWeight<T>& w, Rows<T> dx) {
  PackedRight<T>(w.backward, w.out, w.bf16)
      .template Multiply<kAccumulate>(rows, w.in, w.out, dy, dx);
}

template <typename T>
void LinearBackwardWeight(int64_t rows, Rows<T> x, Rows<T> dy, const PackedWeight<T>& w, T* dw,
                          T* db) {
  if (w.bf16 != nullptr) {
    PackedRight<T> right(reinterpret_cast<T*>(w.bf16->right), w.bf16);
    right.Pack(rows, w.out, dy.data, dy.stride);
    right.template MultiplyTransposed<true>(w.in, w.out, rows, x, 0, {dw, w.out});
  } else {
    GemmUnpacked<true>(w.in, w.out, rows, x.transposed(), dy.data, dy.stride, dw, w.out);
  }
  if (db != nullptr) AddColumnSums(rows, w.out, dy, db);
}

#define SAFFRON_INSTANTIATE(T)                                                                    \
  template void AddToRows<T>(int64_t, int64_t, const T*, Rows<T>);                                \
  template void AddColumnSums<T>(int64_t, int64_t, Rows<T>, T*);                                  \
  template void PackWeight<T>(const T*, bool, const PackedWeight<T>&);                            \
  template void PackWeightTransposed<T>(const T*, bool, const PackedWeight<T>&);                  \
  template void LinearForward<T>(int64_t, Rows<T>, const PackedWeight<T>&, const T*, Rows<T>);    \
  template void LinearForwardAdd<T>(int64_t, Rows<T>, const PackedWeight<T>&, const T*, Rows<T>); \
  template void LinearBackwardInput<false, T>(int64_t, Rows<T>, const PackedWeight<T>&, Rows<T>); \
  template void LinearBackwardInput<true, T>(int64_t, Rows<T>, const PackedWeight<T>&, Rows<T>);  \
  template void LinearBackwardWeight<T>(int64_t, Rows<T>, Rows<T>, const PackedWeight<T>&, T*, T*);
SAFFRON_INSTANTIATE(float)
SAFFRON_INSTANTIATE(double)
#undef SAFFRON_INSTANTIATE

}  // namespace saffron
