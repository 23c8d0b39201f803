#include "core/layers/attention.h"

#include <algorithm>
#include <cmath>

#include "core/math/gemm.h"

namespace saffron {
namespace {

// <a, b> of n numbers, n a multiple of 16.
template <typename T>
T Dot(const T* a, const T* b, int n) {
  using S = Simd<T>;
  auto sum = S::Zero();
  for (int i = 0; i < n; i += S::kLanes) sum = S::MulAdd(S::Load(a + i), S::Load(b + i), sum);
  return S::Sum(sum);
}

// y += c x, n a multiple of 16.
template <typename T>
void Axpy(T c, const T* x, T* y, int n) {
  using S = Simd<T>;
  const auto scale = S::Broadcast(c);
  for (int i = 0; i < n; i += S::kLanes) {
    S::Store(y + i, S::MulAdd(scale, S::Load(x + i), S::Load(y + i)));
  }
}

template <typename T>
T DotWithKey(const T* row, const KeyRows<T>& key, int64_t m) {
  if (!key.sparse()) return Dot(row, key.dense_row(key.row_of(m)), key.stride());
  T sum = 0;
  key.ForEachNonZero(key.row_of(m), [&](int32_t j, T x) { sum += row[j] * x; });
  return sum;
}

template <typename T>
void SoftmaxOfScores(T* scores, int n) {
  const T max = *std::max_element(scores, scores + n);
  T sum = 0;
  for (int k = 0; k < n; ++k) {
    scores[k] = std::exp(scores[k] - max);
    sum += scores[k];
  }
  for (int k = 0; k < n; ++k) scores[k] /= sum;
}

}  // namespace

template <typename T>
Attention<T>::Attention(const LayerPlaces<T>& places, int positions_max)
    : places_(places),
      num_keys_(places.shape->num_keys()),
      weights_(int64_t{positions_max} * num_keys_),
      dbeta_(num_keys_) {
  if (!places.shape->attention) return;
  int stride_max = 0;
  for (const KeySpec& key : places.shape->keys) {
    query_times_w_.emplace_back(int64_t{positions_max} * PaddedDim(key.dim));
    stride_max = std::max(stride_max, PaddedDim(key.dim));
  }
  gathered_ = AlignedArray<T>(int64_t{positions_max} * stride_max);
}

template <typename T>
void Attention<T>::Forward(const T* arena, const std::vector<KeyRows<T>>& keys, int positions) {
  const T* beta = arena + places_.beta;
  for (int64_t m = 0; m < positions; ++m) {
    std::copy(beta, beta + num_keys_, weights_.data() + m * num_keys_);
  }
  if (places_.shape->attention) {
    for (int k = 0; k < num_keys_; ++k) {
      const KeyRows<T>& key = keys[k];
      T* by_query = query_times_w_[k].data();
      QueryTimesW(arena + places_.w_offset(k), keys[0], key, by_query);
      for (int64_t m = 0; m < positions; ++m) {
        const T* row = by_query + int64_t{keys[0].row_of(m)} * key.stride();
        weights_[m * num_keys_ + k] += DotWithKey(row, key, m);
      }
    }
  }
  for (int64_t m = 0; m < positions; ++m) {
    SoftmaxOfScores(weights_.data() + m * num_keys_, num_keys_);
  }
}

template <typename T>
void Attention<T>::QueryTimesW(const T* w, const KeyRows<T>& query, const KeyRows<T>& key,
                               T* out) const {
  const int stride = key.stride();
  if (!query.sparse()) {
    Gemm<false, T>(query.rows(), stride, query.dim(), {query.dense(), query.stride(), 1}, w, stride,
                   out, stride);
    return;
  }
  for (int row = 0; row < query.rows(); ++row) {
    T* to = out + int64_t{row} * stride;
    std::fill(to, to + stride, T{0});
    query.ForEachNonZero(row,
                         [&](int32_t j, T x) { Axpy(x, w + int64_t{j} * stride, to, stride); });
  }
}

template <typename T>
void Attention<T>::Backward(const T* arena, const std::vector<KeyRows<T>>& keys, int positions,
                            T* weighted, T* gradient, const std::vector<T*>& dx) {
  std::ranges::fill(dbeta_, 0.0);
  for (int64_t m = 0; m < positions; ++m) {
    T* ds = weighted + m * num_keys_;
    T mean = 0;
    for (int k = 0; k < num_keys_; ++k) mean += ds[k];
    for (int k = 0; k < num_keys_; ++k) {
      ds[k] -= weight(m, k) * mean;
      dbeta_[k] += ds[k];
    }
  }
  for (int k = 0; k < num_keys_; ++k) gradient[places_.beta + k] += static_cast<T>(dbeta_[k]);
  if (!places_.shape->attention) return;
  for (int k = 0; k < num_keys_; ++k) {
    const KeyRows<T>& key = keys[k];
    const T* w = arena + places_.w_offset(k);
    GatherKeys(keys[0], key, k, positions, weighted);
    AddOuterProducts(keys[0], key, gradient + places_.w_offset(k));
    if (dx[0] != nullptr) BackToQuery(w, keys[0], key, dx[0]);
    if (dx[k] == nullptr) continue;
    for (int64_t m = 0; m < positions; ++m) {
      const T* row = query_times_w_[k].data() + int64_t{keys[0].row_of(m)} * key.stride();
      Axpy(weighted[m * num_keys_ + k], row, dx[k] + m * key.stride(), key.stride());
    }
  }
}

// gathered_[r] = sum over positions m whose query is row r of ds_mk X_k(m).
template <typename T>
void Attention<T>::GatherKeys(const KeyRows<T>& query, const KeyRows<T>& key, int k, int positions,
                              const T* ds) {
  const int stride = key.stride();
  std::fill_n(gathered_.data(), int64_t{query.rows()} * stride, T{0});
  for (int64_t m = 0; m < positions; ++m) {
    T* to = gathered_.data() + int64_t{query.row_of(m)} * stride;
    const T scale = ds[m * num_keys_ + k];
    if (key.sparse()) {
      key.ForEachNonZero(key.row_of(m), [&](int32_t j, T x) { to[j] += scale * x; });
    } else {
      Axpy(scale, key.dense_row(key.row_of(m)), to, stride);
    }
  }
}

// dW_k += sum over query rows r of q_r gathered_[r]'.
template <typename T>
void Attention<T>::AddOuterProducts(const KeyRows<T>& query, const KeyRows<T>& key, T* dw) const {
  const int stride = key.stride();
  if (!query.sparse()) {
    Gemm<true, T>(query.dim(), stride, query.rows(), {query.dense_transposed(), query.rows(), 1},
                  gathered_.data(), stride, dw, stride);
    return;
  }
  for (int row = 0; row < query.rows(); ++row) {
    const T* from = gathered_.data() + int64_t{row} * stride;
    query.ForEachNonZero(row,
                         [&](int32_t j, T x) { Axpy(x, from, dw + int64_t{j} * stride, stride); });
  }
}

// dq_r += W_k gathered_[r]. Only a query that is an o key, whose rows are positions, gets here.
template <typename T>
void Attention<T>::BackToQuery(const T* w, const KeyRows<T>& query, const KeyRows<T>& key,
                               T* dq) const {
  const int stride = key.stride();
  for (int row = 0; row < query.rows(); ++row) {
    const T* from = gathered_.data() + int64_t{row} * stride;
    T* to = dq + int64_t{row} * query.stride();
    for (int j = 0; j < query.dim(); ++j) to[j] += Dot(w + int64_t{j} * stride, from, stride);
  }
}

template class Attention<float>;
template class Attention<double>;

}  // namespace saffron
