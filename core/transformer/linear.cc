#include "core/transformer/linear.h"

#include <algorithm>

#include "core/base/check.h"
#include "core/math/lanes.h"

namespace saffron {
namespace {

// What the copies of a weight with bf16 hold.
template <typename T>
Bf16Pair* Pairs(T* copy) {
  return reinterpret_cast<Bf16Pair*>(copy);
}

// The numbers of a weight with bf16, which are floats.
float* Floats(float* x) { return x; }
const float* Floats(const float* x) { return x; }
float* Floats(const double*) {
  CHECK(false) << "products of doubles in bfloat16";
  return nullptr;
}

// y[rows, n] (+)= x[rows, k] times a packed copy.
template <bool kAccumulate, typename T>
void Multiply(int64_t rows, int64_t n, int64_t k, Rows<T> x, T* packed, const Bf16Scratch* bf16,
              Rows<T> y) {
  if (bf16 == nullptr) {
    return GemmPacked<kAccumulate>(rows, n, k, x.left(), packed, y.data, y.stride);
  }
  const int64_t stride = StrideOf<Bf16Pair>(Bf16Pairs(k));
  Bf16AlongRows(rows, k, Floats(x.data), x.stride, bf16->left, stride);
  Bf16Gemm<kAccumulate>(rows, n, k, {bf16->left, stride, 1}, Pairs(packed), Floats(y.data),
                        y.stride);
}

}  // namespace

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
int64_t PackedWeightSize(int64_t in, int64_t out, bool bf16) {
  static_assert(sizeof(Bf16Pair) <= sizeof(T));
  return bf16 ? Bf16PackedSize(in, out) : PackedSize<T>(in, out);
}

template <typename T>
void PackWeight(const T* from, bool backward, const PackedWeight<T>& w) {
  if (w.bf16 != nullptr) {
    Bf16PackRight(w.in, w.out, Floats(from), w.out, Pairs(w.forward));
    if (backward) {
      Bf16PackRightTransposed(w.out, w.in, Floats(from), w.out, Pairs(w.backward));
    }
    return;
  }
  PackRight(w.in, w.out, from, w.out, w.forward);
  if (backward) PackRightTransposed(w.out, w.in, from, w.out, w.backward);
}

template <typename T>
void PackWeightTransposed(const T* from, bool backward, const PackedWeight<T>& w) {
  if (w.bf16 != nullptr) {
    Bf16PackRightTransposed(w.in, w.out, Floats(from), w.in, Pairs(w.forward));
    if (backward) Bf16PackRight(w.out, w.in, Floats(from), w.in, Pairs(w.backward));
    return;
  }
  PackRightTransposed(w.in, w.out, from, w.in, w.forward);
  if (backward) PackRight(w.out, w.in, from, w.in, w.backward);
}

template <typename T>
void LinearForward(int64_t rows, Rows<T> x, const PackedWeight<T>& w, const T* b, Rows<T> y) {
  Multiply<false>(rows, w.out, w.in, x, w.forward, w.bf16, y);
  if (b != nullptr) AddToRows(rows, w.out, b, y);
}

template <typename T>
void LinearForwardAdd(int64_t rows, Rows<T> x, const PackedWeight<T>& w, const T* b, Rows<T> y) {
  Multiply<true>(rows, w.out, w.in, x, w.forward, w.bf16, y);
  if (b != nullptr) AddToRows(rows, w.out, b, y);
}

template <bool kAccumulate, typename T>
void LinearBackwardInput(int64_t rows, Rows<T> dy, const PackedWeight<T>& w, Rows<T> dx) {
  Multiply<kAccumulate>(rows, w.in, w.out, dy, w.backward, w.bf16, dx);
}

template <typename T>
void LinearBackwardWeight(int64_t rows, Rows<T> x, Rows<T> dy, const PackedWeight<T>& w, T* dw,
                          T* db) {
  if (w.bf16 != nullptr) {
    const int64_t stride = StrideOf<Bf16Pair>(w.in);
    Bf16DownColumns(rows, w.in, Floats(x.data), x.stride, w.bf16->left, stride);
    Bf16PackRight(rows, w.out, Floats(dy.data), dy.stride, w.bf16->right);
    Bf16Gemm<true>(w.in, w.out, rows, {w.bf16->left, 1, stride}, w.bf16->right, Floats(dw), w.out);
  } else {
    GemmUnpacked<true>(w.in, w.out, rows, x.transposed(), dy.data, dy.stride, dw, w.out);
  }
  if (db != nullptr) AddColumnSums(rows, w.out, dy, db);
}

#define SAFFRON_INSTANTIATE(T)                                                                    \
  template void AddToRows<T>(int64_t, int64_t, const T*, Rows<T>);                                \
  template void AddColumnSums<T>(int64_t, int64_t, Rows<T>, T*);                                  \
  template int64_t PackedWeightSize<T>(int64_t, int64_t, bool);                                   \
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
