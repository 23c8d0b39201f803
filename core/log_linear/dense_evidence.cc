#include "core/log_linear/dense_evidence.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <numeric>

#include "core/base/check.h"
#include "core/math/packed_gemm.h"

namespace saffron {

template <typename T>
DenseEvidence<T>::DenseEvidence(const LogLinearShape& shape, const DenseTables<T>& tables,
                                absl::Span<const int32_t> stream, Counted counted)
    : shape_(shape),
      tables_(tables),
      stream_(stream),
      counted_(counted),
      vocab_(static_cast<int64_t>(tables.p.size())),
      bits_(tables.features.bits),
      rows_(kTogether * keys()),
      key_inputs_(kTogether * keys()),
      left_out_(kTogether * keys()),
      values_(kTogether * keys() * vocab_),
      inputs_(kTogether * keys() * bits_) {
  CHECK(shape.dense_gains.size() == tables.keys.size());
  if (tables.keys.empty()) return;
  CHECK(values_.ok() && inputs_.ok()) << "no memory for " << values_.size() << " numbers";
  window_.emplace(tables.features, tables.keys, stream, nullptr);
}

// Its class is how often the token was seen elsewhere.
template <typename T>
int DenseEvidence<T>::GainOf(int64_t k, int32_t token) const {
  const int first = shape_.dense_gains[k];
  if (!shape_.gains_by_count || !IsTokenKey(tables_.keys[k])) return first;
  const int64_t seen = tables_.token_counts[token] - (counted_ == Counted::kLeftOut);
  return first + CountClass(std::max<int64_t>(1, seen));
}

template <typename T>
T DenseEvidence<T>::LeftOutOf(int64_t k, const KeyVector& counted, const T* x, int32_t next) const {
  const DenseTable<T>& table = tables_.tables[k];
  const float* const f = table.counts.row(next).data();
  const double p = tables_.p[next], alpha = tables_.alpha;
  double sum = 0;
  for (int e = 0; e < counted.size; ++e) {
    const int j = counted.index == nullptr ? e : counted.index[e];
    const double own = counted.value[e], rest = std::max(0.0, double{f[j]} - own);
    const double m = std::max(rest, (table.mass[j] - own) * p);
    const double shrunk = tables_.kappa > 0 ? m / (m + tables_.kappa) : 1;
    sum += double{x[e]} * shrunk * std::log((rest + alpha * p) / ((table.mass[j] + alpha) * p));
    if (table.learnt != nullptr) sum += double{x[e]} * table.learnt[j * vocab_ + next];
  }
  return static_cast<T>(sum);
}

template <typename T>
void DenseEvidence<T>::LoadKey(int64_t n, int64_t k, int64_t t) {
  const KeySpec& key = tables_.keys[k];
  const KeyVector vector = window_->At(static_cast<int>(k), t);
  const int32_t token = TokenOfKey(stream_, tables_.features.padding, key, t);
  T* const x = InputOf(n, k);
  for (int e = 0; e < vector.size; ++e) x[e] = vector.value[e];
  key_inputs_[n * keys() + k] = {.index = vector.index, .value = x, .size = vector.size};
  T* const row = RowOf(n, k);
  rows_[n * keys() + k] = {.value = row, .gain = GainOf(k, token)};
  if (key.stream == Stream::kCipher) {
    Eigen::Map<Eigen::Matrix<T, 1, Eigen::Dynamic>> sum(row, vocab_);
    sum.setZero();
    for (int e = 0; e < vector.size; ++e) {
      if (x[e] == 0) continue;
      sum += x[e] * tables_.tables[k].r.row(vector.index == nullptr ? e : vector.index[e]);
    }
  }
  if (counted_ != Counted::kLeftOut) return;
  const int32_t next = stream_[t];
  const int32_t before = t > 0 ? stream_[t - 1] : tables_.features.padding;
  if (key.stream == Stream::kContext && token == before) {
    // The mean of the codes that followed the token, and of one mean code, without this one.
    const SparseRows& cipher = tables_.features.cipher;
    const T rest = static_cast<T>(tables_.followers[token]);
    for (int j = 0; j < vector.size; ++j) x[j] *= rest + 1;
    for (int32_t e = cipher.begin[next]; e < cipher.begin[next + 1]; ++e) {
      x[cipher.index[e]] -= cipher.value[e];
    }
    for (int j = 0; j < vector.size; ++j) x[j] = std::max(T{0}, x[j]) / rest;
  }
  left_out_[n * keys() + k] = LeftOutOf(k, vector, x, next);
}

template <typename T>
template <typename Index>
void DenseEvidence<T>::Load(absl::Span<const Index> targets) {
  run_ = 0;
  if (tables_.keys.empty()) return;
  const int64_t n = static_cast<int64_t>(targets.size());
  CHECK(n <= kTogether) << n;
  for (int64_t i = 0; i < n; ++i) {
    const int64_t t = targets[i];
    window_->Load(t, t + 1);
    for (int64_t k = 0; k < keys(); ++k) LoadKey(i, k, t);
  }
  for (int64_t k = 0; k < keys(); ++k) {
    if (tables_.keys[k].stream == Stream::kCipher) continue;
    GemmPacked<false>(n, vocab_, bits_, {InputOf(0, k), bits_, 1}, tables_.tables[k].packed.data(),
                      RowOf(0, k), keys() * vocab_);
  }
  if (counted_ != Counted::kLeftOut) return;
  for (int64_t i = 0; i < n; ++i) {
    for (int64_t k = 0; k < keys(); ++k) {
      RowOf(i, k)[stream_[targets[i]]] = left_out_[i * keys() + k];
    }
  }
}

template <typename T>
absl::Span<const DenseRow<T>> DenseEvidence<T>::At(int64_t t) {
  if (t < run_first_ || t >= run_first_ + run_) {
    const int64_t size = std::min<int64_t>(kTogether, std::ssize(stream_) - t);
    std::array<int64_t, kTogether> targets;
    std::iota(targets.begin(), targets.end(), t);
    Load(absl::MakeConstSpan(targets).first(size));
    run_first_ = t;
    run_ = size;
  }
  return RowsOf(t - run_first_);
}

template <typename T>
void AddDenseRows(absl::Span<const DenseRow<T>> rows, absl::Span<const double> gains, int64_t vocab,
                  T* z) {
  Eigen::Map<Vector<T>> sum(z, vocab);
  for (const DenseRow<T>& row : rows) {
    sum += static_cast<T>(gains[row.gain]) * Eigen::Map<const Vector<T>>(row.value, vocab);
  }
}

template <typename T>
void AddDenseGradient(absl::Span<const DenseRow<T>> rows, const T* d, int64_t vocab,
                      double* gradient) {
  const Eigen::Map<const Vector<T>> slope(d, vocab);
  for (const DenseRow<T>& row : rows) {
    gradient[row.gain] += slope.dot(Eigen::Map<const Vector<T>>(row.value, vocab));
  }
}

template class DenseEvidence<float>;
template class DenseEvidence<double>;
template void DenseEvidence<float>::Load(absl::Span<const int32_t>);
template void DenseEvidence<float>::Load(absl::Span<const int64_t>);
template void DenseEvidence<double>::Load(absl::Span<const int32_t>);
template void DenseEvidence<double>::Load(absl::Span<const int64_t>);
template void AddDenseRows(absl::Span<const DenseRow<float>>, absl::Span<const double>, int64_t,
                           float*);
template void AddDenseRows(absl::Span<const DenseRow<double>>, absl::Span<const double>, int64_t,
                           double*);
template void AddDenseGradient(absl::Span<const DenseRow<float>>, const float*, int64_t, double*);
template void AddDenseGradient(absl::Span<const DenseRow<double>>, const double*, int64_t, double*);

}  // namespace saffron
