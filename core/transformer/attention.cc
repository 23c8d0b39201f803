#include "core/transformer/attention.h"

#include <algorithm>
#include <cmath>

#include "core/math/lanes.h"

namespace saffron {
namespace {

// Rows of A that are computed together: those above the diagonal of a causal A cost nothing but
// what a block of so many rows has of them. In bfloat16 a tile is twelve rows by 32 columns.
constexpr int64_t kBlock = 16, kBf16Block = 32;

int64_t BlockOf(const AttentionShape& shape) { return shape.bf16 == nullptr ? kBlock : kBf16Block; }

// The parts of AttentionScratch.
template <typename T>
struct Scratch {
  Rows<T> d;             // [length, length]: dA, then dS
  PackedRight<T> right;  // K, V, Q, dO or their transposes
  Scratch(const AttentionShape& shape, T* memory)
      : d{memory, shape.weights_stride<T>()}, right(memory + shape.length * d.stride, shape.bf16) {}
};

// Columns that rows below `end` of A reach.
int64_t Reach(const AttentionShape& shape, int64_t end) {
  return shape.causal ? end : shape.length;
}

// Calls f(first row, rows, columns they reach) for all blocks of rows.
template <typename F>
void ForBlocks(const AttentionShape& shape, F f) {
  const int64_t block = BlockOf(shape);
  for (int64_t t = 0; t < shape.length; t += block) {
    const int64_t rows = std::min(block, shape.length - t);
    f(t, rows, Reach(shape, t + rows));
  }
}

template <typename T>
Rows<T> HeadOf(Rows<T> x, int64_t head, int64_t dim) {
  return {x.data + head * dim, x.stride};
}

// row = softmax(scale row + bias) over its first `seen` numbers, 0 up to `columns`.
template <typename T>
void SoftmaxRow(T* row, int64_t t, int64_t seen, int64_t columns, T scale, T slope) {
  if (slope != 0) {
    for (int64_t j = 0; j < seen; ++j) row[j] = row[j] * scale - slope * static_cast<T>(t - j);
    scale = 1;
  }
  T max = row[0];
  for (int64_t j = 1; j < seen; ++j) max = row[j] > max ? row[j] : max;
  const T sum = SumLanes<T>(seen, [=]<typename S>(int64_t j) {
    const auto shifted = S::Mul(S::Sub(S::Load(row + j), S::Broadcast(max)), S::Broadcast(scale));
    const auto e = ExpOfNonPositive(shifted);
    S::Store(row + j, e);
    return e;
  });
  const T inverse = 1 / sum;
  ForLanes<T>(seen, [=]<typename S>(int64_t j) {
    S::Store(row + j, S::Mul(S::Load(row + j), S::Broadcast(inverse)));
  });
  std::fill(row + seen, row + columns, T{0});
}

template <typename T>
T ScaleOf(const AttentionShape& shape) {
  return static_cast<T>(1 / std::sqrt(static_cast<double>(shape.key_dim)));
}

// da becomes dS / sqrt(key_dim): scale a (da - sum da a) over the first n numbers.
template <typename T>
void SoftmaxBackwardRow(const T* a, T* da, int64_t n, T scale) {
  const T sum = SumLanes<T>(
      n, [=]<typename S>(int64_t j) { return S::Mul(S::Load(a + j), S::Load(da + j)); });
  ForLanes<T>(n, [=]<typename S>(int64_t j) {
    const auto centred = S::Sub(S::Load(da + j), S::Broadcast(sum));
    S::Store(da + j, S::Mul(S::Mul(S::Load(a + j), S::Broadcast(scale)), centred));
  });
}

// One query head. kAccumulate: dk and dv already hold those of another head of the group.
template <bool kAccumulate, typename T>
void HeadBackward(const AttentionShape& shape, Rows<T> q, Rows<T> k, Rows<T> v, Rows<T> a,
                  Rows<T> dout, Rows<T> dq, Rows<T> dk, Rows<T> dv, Scratch<T>& scratch) {
  const int64_t n = shape.length, block = BlockOf(shape);
  const Rows<T> d = scratch.d;
  PackedRight<T>& right = scratch.right;
  const T scale = ScaleOf<T>(shape);
  // Keys j are seen by rows from `first` on.
  const auto for_keys = [&](auto f) {
    for (int64_t j = 0; j < n; j += block) f(j, std::min(block, n - j), shape.causal ? j : 0);
  };
  // dA = dO V'
  right.PackTransposed(shape.value_dim, n, v.data, v.stride);
  ForBlocks(shape, [&](int64_t t, int64_t rows, int64_t columns) {
    right.template Multiply<false>(rows, columns, shape.value_dim, dout.From(t), d.From(t));
    for (int64_t r = t; r < t + rows; ++r) SoftmaxBackwardRow(a.row(r), d.row(r), columns, scale);
  });
  // dV = A' dO
  right.Pack(n, shape.value_dim, dout.data, dout.stride);
  for_keys([&](int64_t j, int64_t keys, int64_t first) {
    right.template MultiplyTransposed<kAccumulate>(keys, shape.value_dim, n - first,
                                                   {a.row(first) + j, a.stride}, first, dv.From(j));
  });
  // dQ = dS K
  right.Pack(n, shape.key_dim, k.data, k.stride);
  ForBlocks(shape, [&](int64_t t, int64_t rows, int64_t columns) {
    right.template Multiply<false>(rows, shape.key_dim, columns, d.From(t), dq.From(t));
  });
  // dK = dS' Q
  right.Pack(n, shape.key_dim, q.data, q.stride);
  for_keys([&](int64_t j, int64_t keys, int64_t first) {
    right.template MultiplyTransposed<kAccumulate>(keys, shape.key_dim, n - first,
                                                   {d.row(first) + j, d.stride}, first, dk.From(j));
  });
}

}  // namespace

template <typename T>
int64_t AttentionScratch(const AttentionShape& shape) {
  const int64_t dim = std::max(shape.key_dim, shape.value_dim);
  const auto size = [&](int64_t k, int64_t n) {
    return PackedRight<T>::Size(k, n, shape.bf16 != nullptr);
  };
  return shape.length * shape.weights_stride<T>() +
         std::max(size(dim, shape.length), size(shape.length, dim));
}

template <typename T>
void AttentionForward(const AttentionShape& shape, Rows<T> q, Rows<T> k, Rows<T> v, Rows<T> out,
                      T* weights, T* memory) {
  Scratch<T> scratch(shape, memory);
  PackedRight<T>& right = scratch.right;
  const int64_t n = shape.length, stride = shape.weights_stride<T>();
  const int group = shape.heads / shape.kv_heads;
  for (int e = 0; e < shape.heads; ++e) {
    const Rows<T> a{weights + e * n * stride, stride};
    const Rows<T> query = HeadOf(q, e, shape.key_dim);
    const Rows<T> key = HeadOf(k, e / group, shape.key_dim);
    const Rows<T> value = HeadOf(v, e / group, shape.value_dim);
    const Rows<T> to = HeadOf(out, e, shape.value_dim);
    const T slope = shape.slopes == nullptr ? T{0} : static_cast<T>(shape.slopes[e]);
    right.PackTransposed(shape.key_dim, n, key.data, key.stride);
    ForBlocks(shape, [&](int64_t t, int64_t rows, int64_t columns) {
      right.template Multiply<false>(rows, columns, shape.key_dim, query.From(t), a.From(t));
      for (int64_t r = t; r < t + rows; ++r) {
        const int64_t first = shape.first == nullptr ? 0 : shape.first[r];
        T* const seen = std::fill_n(a.row(r), first, T{0});
        SoftmaxRow(seen, r - first, Reach(shape, r + 1) - first, columns - first, ScaleOf<T>(shape),
                   slope);
      }
    });
    right.Pack(n, shape.value_dim, value.data, value.stride);
    ForBlocks(shape, [&](int64_t t, int64_t rows, int64_t columns) {
      right.template Multiply<false>(rows, shape.value_dim, columns, a.From(t), to.From(t));
    });
  }
}

template <typename T>
void AttentionBackward(const AttentionShape& shape, Rows<T> q, Rows<T> k, Rows<T> v,
                       const T* weights, Rows<T> dout, Rows<T> dq, Rows<T> dk, Rows<T> dv,
                       T* memory) {
  Scratch<T> scratch(shape, memory);
  const int64_t stride = shape.weights_stride<T>();
  const int group = shape.heads / shape.kv_heads;
  for (int e = 0; e < shape.heads; ++e) {
    const int shared = e / group;
    const Rows<T> a{const_cast<T*>(weights) + e * shape.length * stride, stride};
    const auto backward = [&](auto head) {
      head(shape, HeadOf(q, e, shape.key_dim), HeadOf(k, shared, shape.key_dim),
           HeadOf(v, shared, shape.value_dim), a, HeadOf(dout, e, shape.value_dim),
           HeadOf(dq, e, shape.key_dim), HeadOf(dk, shared, shape.key_dim),
           HeadOf(dv, shared, shape.value_dim), scratch);
    };
    if (e % group == 0) {
      backward(HeadBackward<false, T>);
    } else {
      backward(HeadBackward<true, T>);
    }
  }
}

#define SAFFRON_INSTANTIATE(T)                                                                     \
  template int64_t AttentionScratch<T>(const AttentionShape&);                                     \
  template void AttentionForward<T>(const AttentionShape&, Rows<T>, Rows<T>, Rows<T>, Rows<T>, T*, \
                                    T*);                                                           \
  template void AttentionBackward<T>(const AttentionShape&, Rows<T>, Rows<T>, Rows<T>, const T*,   \
                                     Rows<T>, Rows<T>, Rows<T>, Rows<T>, T*);
SAFFRON_INSTANTIATE(float)
SAFFRON_INSTANTIATE(double)
#undef SAFFRON_INSTANTIATE

}  // namespace saffron
