#include "core/log_linear/dense_objective.h"

#include "core/base/check.h"
#include "core/math/exp.h"
#include "core/math/packed_gemm.h"

namespace saffron {

template <typename T>
DenseObjective<T>::DenseObjective(const LogLinearShape& shape, absl::Span<const double> gains,
                                  absl::Span<const int32_t> stream, Counted counted,
                                  LogLinearTables<T>* tables)
    : gains_(gains),
      stream_(stream),
      tables_(*tables),
      vocab_(tables->vocab()),
      bits_(tables->dense.features.bits),
      logits_(shape, *tables, stream, counted),
      slope_(EvidenceLogits<T>::kTogether, vocab_),
      packed_(PackedSize<T>(EvidenceLogits<T>::kTogether, vocab_)),
      inputs_(EvidenceLogits<T>::kTogether, bits_) {
  CHECK(!dense().keys.empty());
  CHECK(packed_.ok()) << "no memory for " << packed_.size() << " numbers";
  for (const DenseTable<T>& table : dense().tables) {
    solved_.push_back({.r = table.r, .packed = table.packed, .counts = {}, .mass = {}});
  }
}

template <typename T>
int64_t DenseObjective<T>::size() const {
  return static_cast<int64_t>(solved_.size()) * bits_ * vocab_;
}

template <typename T>
void DenseObjective<T>::Set(absl::Span<const T> d) {
  CHECK(static_cast<int64_t>(d.size()) == size());
  for (size_t k = 0; k < solved_.size(); ++k) {
    DenseTable<T>& table = dense().tables[k];
    table.learnt = d.data() + static_cast<int64_t>(k) * bits_ * vocab_;
    if (dense().keys[k].stream == Stream::kCipher) {
      table.r = solved_[k].r + Eigen::Map<const Matrix<T>>(table.learnt, bits_, vocab_);
    } else {
      PackRight(bits_, vocab_, table.learnt, vocab_, table.packed.data());
      table.packed += solved_[k].packed;
    }
  }
}

template <typename T>
double DenseObjective<T>::At(absl::Span<const int64_t> targets, absl::Span<T> gradient) {
  std::fill(gradient.begin(), gradient.end(), T{0});
  const T scale = static_cast<T>(1.0 / static_cast<double>(targets.size()));
  double nats = 0;
  logits_.ForEach(targets, gains_, [&](size_t n, auto, auto, T* z) {
    const int32_t next = stream_[targets[n]];
    const double logit = z[next];
    nats += SoftmaxInPlace(z, vocab_) - logit;
    z[next] -= 1;
    const auto loaded = static_cast<int64_t>(n % EvidenceLogits<T>::kTogether);
    slope_.row(loaded) = scale * Eigen::Map<const Eigen::Matrix<T, 1, Eigen::Dynamic>>(z, vocab_);
    if (loaded + 1 == slope_.rows() || n + 1 == targets.size()) {
      AddGradient(loaded + 1, gradient.data());
    }
  });
  return nats / static_cast<double>(targets.size());
}

template <typename T>
void DenseObjective<T>::AddGradient(int64_t targets, T* gradient) {
  PackRight(targets, vocab_, slope_.data(), vocab_, packed_.data());
  for (size_t k = 0; k < solved_.size(); ++k) {
    Eigen::Map<Matrix<T>> sum(gradient + static_cast<int64_t>(k) * bits_ * vocab_, bits_, vocab_);
    const bool has_few = dense().keys[k].stream == Stream::kCipher;
    for (int64_t n = 0; n < targets; ++n) {
      const DenseInput<T> x = logits_.dense().InputsOf(n)[k];
      const T gain = static_cast<T>(gains_[logits_.dense().RowsOf(n)[k].gain]);
      for (int e = 0; e < x.size; ++e) {
        if (!has_few) {
          inputs_(n, e) = gain * x.value[e];
        } else if (x.value[e] != 0) {
          sum.row(x.index == nullptr ? e : x.index[e]) += gain * x.value[e] * slope_.row(n);
        }
      }
    }
    if (has_few) continue;
    GemmPacked<true>(bits_, vocab_, targets, {inputs_.data(), 1, bits_}, packed_.data(), sum.data(),
                     vocab_);
  }
}

template class DenseObjective<float>;
template class DenseObjective<double>;

}  // namespace saffron
