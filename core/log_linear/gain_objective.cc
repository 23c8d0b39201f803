#include "core/log_linear/gain_objective.h"

#include <cmath>

#include "core/math/exp.h"

namespace saffron {
namespace {

constexpr int kKeptMax = 1024;

std::vector<double> ToVector(const Vector<double>& v) { return {v.data(), v.data() + v.size()}; }

}  // namespace

template <typename T>
void AddGainGradient(const LogLinearShape& shape, const LogLinearTables<T>& tables,
                     absl::Span<const EvidenceRow<T>> rows, const T* d, double* gradient) {
  for (const EvidenceRow<T>& row : rows) {
    const uint16_t* const type = row.type.data();
    const T* const value = row.value;
    const size_t n = row.type.size();
    double slope = 0, mass = 0;
    // In short stretches of float, two sums at a time: rows have thousands of entries.
    for (size_t begin = 0; begin < n; begin += 256) {
      const size_t end = std::min(n, begin + 256);
      T e0 = 0, e1 = 0, m0 = 0, m1 = 0;
      size_t j = begin;
      for (; j + 1 < end; j += 2) {
        const T q0 = d[type[j]], q1 = d[type[j + 1]];
        e0 += q0 * value[j];
        e1 += q1 * value[j + 1];
        m0 += q0;
        m1 += q1;
      }
      if (j < end) {
        e0 += d[type[j]] * value[j];
        m0 += d[type[j]];
      }
      slope += e0 + e1;
      mass += m0 + m1;
    }
    gradient[row.lambda] += slope;
    if (row.mu >= 0) gradient[row.mu] += mass;
  }
  if (shape.unigram_gain < 0) return;
  gradient[shape.unigram_gain] +=
      Eigen::Map<const Vector<T>>(d, tables.vocab())
          .dot(Eigen::Map<const Vector<T>>(tables.unigram.data(), tables.vocab()));
}

template <typename T>
GainObjective<T>::GainObjective(const LogLinearShape& shape, const LogLinearTables<T>& tables,
                                absl::Span<const int32_t> stream, std::vector<int32_t> targets,
                                Counted counted)
    : shape_(shape),
      tables_(tables),
      stream_(stream),
      targets_(std::move(targets)),
      logits_(shape, tables, stream, counted),
      place_(tables.vocab(), -1) {
  // A position has a row for each template, for each class of type of two histories, for the
  // followers, the unigram column, and for each dense key.
  const auto rows = static_cast<int64_t>(2 * shape.nodes.size() + 2 * kTypeClasses + 2 +
                                         shape.dense_gains.size());
  features_.resize(rows, kKeptMax);
}

template <typename T>
GainLoss GainObjective<T>::At(const Vector<double>& gains, int64_t curvature_every) {
  const std::vector<double> g = ToVector(gains);
  GainLoss loss = {.nats = 0, .gradient = Vector<double>::Zero(shape_.gains), .hessian = {}};
  if (curvature_every > 0) loss.hessian.setZero(shape_.gains, shape_.gains);
  uses_.assign(shape_.gains, 0);
  const auto add_target = [&](size_t n, Rows rows, DenseRows dense, T* z) {
    const int32_t next = stream_[targets_[n]];
    const double logit = z[next];
    loss.nats += SoftmaxInPlace(z, tables_.vocab()) - logit;
    // In place of p: p - y.
    z[next] -= 1;
    AddGainGradient<T>(shape_, tables_, rows, z, loss.gradient.data());
    AddDenseGradient<T>(dense, z, tables_.vocab(), loss.gradient.data());
    z[next] += 1;
    CountUses(rows, dense);
    if (curvature_every > 0 && n % curvature_every == 0) AddCurvature(rows, dense, z, &loss);
  };
  logits_.ForEach(absl::MakeConstSpan(targets_), g, add_target);
  if (curvature_every > 0) loss.hessian *= static_cast<double>(curvature_every);
  return loss;
}

template <typename T>
void GainObjective<T>::CountUses(Rows rows, DenseRows dense) {
  for (const EvidenceRow<T>& row : rows) {
    ++uses_[row.lambda];
    if (row.mu >= 0) ++uses_[row.mu];
  }
  if (shape_.unigram_gain >= 0) ++uses_[shape_.unigram_gain];
  for (const DenseRow<T>& row : dense) ++uses_[row.gain];
}

template <typename T>
void GainObjective<T>::AddCurvature(Rows rows, DenseRows dense, const T* p, GainLoss* loss) {
  kept_.clear();
  for (size_t i = 0; i < place_.size(); ++i) {
    if (p[i] < kHessianFloor || kept_.size() == kKeptMax) continue;
    place_[i] = static_cast<int16_t>(kept_.size());
    kept_.push_back(static_cast<uint16_t>(i));
  }
  const int64_t kept = static_cast<int64_t>(kept_.size());
  feature_.clear();
  const auto new_row = [&](int gain) {
    feature_.push_back(gain);
    T* const row = features_.data() + (feature_.size() - 1) * kKeptMax;
    std::fill(row, row + kept, T{0});
    return row;
  };
  // Rows weighted by the root of p, so that products of rows are expectations.
  Vector<T> root(kept);
  for (int64_t s = 0; s < kept; ++s) root[s] = std::sqrt(p[kept_[s]]);
  for (const EvidenceRow<T>& row : rows) {
    T* const value = new_row(row.lambda);
    T* const seen = row.mu >= 0 ? new_row(row.mu) : nullptr;
    for (size_t j = 0; j < row.type.size(); ++j) {
      const int16_t s = place_[row.type[j]];
      if (s < 0) continue;
      value[s] = row.value[j] * root[s];
      if (seen != nullptr) seen[s] = root[s];
    }
  }
  const auto add_column = [&](const T* column, int gain) {
    T* const value = new_row(gain);
    for (int64_t s = 0; s < kept; ++s) value[s] = column[kept_[s]] * root[s];
  };
  if (shape_.unigram_gain >= 0) add_column(tables_.unigram.data(), shape_.unigram_gain);
  for (const DenseRow<T>& row : dense) add_column(row.value, row.gain);
  for (uint16_t i : kept_) place_[i] = -1;

  const auto f = features_.topLeftCorner(feature_.size(), kept);
  const Vector<T> mean = f * root;
  Matrix<T> moment = f * f.transpose();
  moment.noalias() -= mean * (mean.transpose() / root.squaredNorm());
  for (size_t a = 0; a < feature_.size(); ++a) {
    for (size_t b = 0; b < feature_.size(); ++b) {
      loss->hessian(feature_[a], feature_[b]) += moment(a, b);
    }
  }
}

template void AddGainGradient(const LogLinearShape&, const LogLinearTables<float>&,
                              absl::Span<const EvidenceRow<float>>, const float*, double*);
template void AddGainGradient(const LogLinearShape&, const LogLinearTables<double>&,
                              absl::Span<const EvidenceRow<double>>, const double*, double*);
template class GainObjective<float>;
template class GainObjective<double>;

}  // namespace saffron
