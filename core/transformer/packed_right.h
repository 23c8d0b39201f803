#pragma once
// Products y (+)= x B of rows of activations with a packed B.
//
// Row strides: a matrix with StrideOf(n) numbers a row never has rows a power of two apart.
//
// Products of floats can be taken in bfloat16 (bf16_gemm.h): B is rounded when it is packed, x in
// each product, sums are float.

#include <algorithm>
#include <cstdint>
#include <type_traits>

#include "core/base/check.h"
#include "core/math/bf16_gemm.h"
#include "core/math/packed_gemm.h"

namespace saffron {

// n rounded up to whole cache lines, an odd number of them.
template <typename T>
constexpr int64_t StrideOf(int64_t n) {
  constexpr int64_t kLine = 64 / sizeof(T);
  return ((n + kLine - 1) / kLine | 1) * kLine;
}

// A matrix of rows in the workspace: data[i * stride + j]. Rows can be read up to their stride.
template <typename T>
struct Rows {
  T* data = nullptr;
  int64_t stride = 0;

  T* row(int64_t i) const { return data + i * stride; }
  // Those from row i on.
  Rows From(int64_t i) const { return {row(i), stride}; }
  // As the left side of a product, straight and transposed.
  GemmLeft<T> left() const { return {data, stride, 1}; }
  GemmLeft<T> transposed() const { return {data, 1, stride}; }
};

// Where a product in bfloat16 puts its rounded operands.
struct Bf16Scratch {
  Bf16Pair* left = nullptr;   // Bf16LeftSize
  Bf16Pair* right = nullptr;  // Bf16RightSize
};
// Of all products of up to `rows` rows with weights of up to `widest` inputs or outputs.
int64_t Bf16LeftSize(int64_t rows, int64_t widest);
int64_t Bf16RightSize(int64_t rows, int64_t widest);

// B[k, n] as products read it.
template <typename T>
class PackedRight {
 public:
  // In memory of Size numbers; with bf16 (only where T is float) B is held in pairs.
  PackedRight(T* packed, const Bf16Scratch* bf16) : packed_(packed), bf16_(bf16) {}
  // One that was packed with k rows.
  PackedRight(T* packed, int64_t k, const Bf16Scratch* bf16)
      : packed_(packed), depth_(k), bf16_(bf16) {}
  static int64_t Size(int64_t k, int64_t n, bool bf16) {
    static_assert(sizeof(Bf16Pair) <= sizeof(T));
    return bf16 ? Bf16PackedSize(k, n) : PackedSize<T>(k, n);
  }

  void Pack(int64_t k, int64_t n, const T* b, int64_t ldb) {
    depth_ = k;
    if (bf16_ == nullptr) return PackRight(k, n, b, ldb, packed_);
    if constexpr (kFloat) Bf16PackRight(k, n, b, ldb, pairs());
  }
  // B(p, j) = b[j * ldb + p].
  void PackTransposed(int64_t k, int64_t n, const T* b, int64_t ldb) {
    depth_ = k;
    if (bf16_ == nullptr) return PackRightTransposed(k, n, b, ldb, packed_);
    if constexpr (kFloat) Bf16PackRightTransposed(k, n, b, ldb, pairs());
  }

  // y[m, n] = x[m, k] times the first k rows of B, or y += that when kAccumulate.
  template <bool kAccumulate>
  void Multiply(int64_t m, int64_t n, int64_t k, Rows<T> x, Rows<T> y) const {
    if (bf16_ == nullptr) {
      return GemmPacked<kAccumulate>(m, n, k, x.left(), packed_, depth_, y.data, y.stride);
    }
    if constexpr (kFloat) {
      const int64_t stride = StrideOf<Bf16Pair>(Bf16Pairs(k));
      Bf16AlongRows(m, k, x.data, x.stride, bf16_->left, stride);
      Bf16Gemm<kAccumulate>(m, n, k, {bf16_->left, stride, 1}, pairs(), depth_, y.data, y.stride);
    }
  }
  // y[m, n] = x[k, m]' times the k rows of B from `first`, an even one, or y += that.
  template <bool kAccumulate>
  void MultiplyTransposed(int64_t m, int64_t n, int64_t k, Rows<T> x, int64_t first,
                          Rows<T> y) const {
    if (bf16_ == nullptr) {
      return GemmPacked<kAccumulate>(m, n, k, x.transposed(), packed_ + first * kPanelColumns<T>,
                                     depth_, y.data, y.stride);
    }
    if constexpr (kFloat) {
      const int64_t stride = StrideOf<Bf16Pair>(m);
      Bf16DownColumns(k, m, x.data, x.stride, bf16_->left, stride);
      Bf16Gemm<kAccumulate>(m, n, k, {bf16_->left, 1, stride}, pairs() + first / 2 * kBf16Panel,
                            depth_, y.data, y.stride);
    }
  }

 private:
  static constexpr bool kFloat = std::is_same_v<T, float>;
  Bf16Pair* pairs() const { return reinterpret_cast<Bf16Pair*>(packed_); }

  T* packed_;
  int64_t depth_ = 0;
  const Bf16Scratch* bf16_;
};

}  // namespace saffron
