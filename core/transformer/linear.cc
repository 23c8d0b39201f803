#include "core/transformer/linear.h"

#include "core/math/lanes.h"

namespace saffron {

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
  PackRight(w.in, w.out, from, w.out, w.forward);
  if (backward) PackRightTransposed(w.out, w.in, from, w.out, w.backward);
}

template <typename T>
void LinearForward(int64_t rows, Rows<T> x, const PackedWeight<T>& w, const T* b, Rows<T> y) {
  GemmPacked<false>(rows, w.out, w.in, x.left(), w.forward, y.data, y.stride);
  if (b != nullptr) AddToRows(rows, w.out, b, y);
}

template <typename T>
void LinearForwardAdd(int64_t rows, Rows<T> x, const PackedWeight<T>& w, const T* b, Rows<T> y) {
  GemmPacked<true>(rows, w.out, w.in, x.left(), w.forward, y.data, y.stride);
  if (b != nullptr) AddToRows(rows, w.out, b, y);
}

template <bool kAccumulate, typename T>
void LinearBackwardInput(int64_t rows, Rows<T> dy, const PackedWeight<T>& w, Rows<T> dx) {
  GemmPacked<kAccumulate>(rows, w.in, w.out, dy.left(), w.backward, dx.data, dx.stride);
}

template <typename T>
void LinearBackwardWeight(int64_t rows, Rows<T> x, Rows<T> dy, int64_t in, int64_t out, T* dw,
                          T* db) {
  GemmUnpacked<true>(in, out, rows, x.transposed(), dy.data, dy.stride, dw, out);
  if (db != nullptr) AddColumnSums(rows, out, dy, db);
}

#define SAFFRON_INSTANTIATE(T)                                                                    \
  template void AddToRows<T>(int64_t, int64_t, const T*, Rows<T>);                                \
  template void AddColumnSums<T>(int64_t, int64_t, Rows<T>, T*);                                  \
  template void PackWeight<T>(const T*, bool, const PackedWeight<T>&);                            \
  template void LinearForward<T>(int64_t, Rows<T>, const PackedWeight<T>&, const T*, Rows<T>);    \
  template void LinearForwardAdd<T>(int64_t, Rows<T>, const PackedWeight<T>&, const T*, Rows<T>); \
  template void LinearBackwardInput<false, T>(int64_t, Rows<T>, const PackedWeight<T>&, Rows<T>); \
  template void LinearBackwardInput<true, T>(int64_t, Rows<T>, const PackedWeight<T>&, Rows<T>);  \
  template void LinearBackwardWeight<T>(int64_t, Rows<T>, Rows<T>, int64_t, int64_t, T*, T*);
SAFFRON_INSTANTIATE(float)
SAFFRON_INSTANTIATE(double)
#undef SAFFRON_INSTANTIATE

}  // namespace saffron
