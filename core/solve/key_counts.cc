#include "core/solve/key_counts.h"

#include <algorithm>

#include "core/base/check.h"
#include "core/math/exp.h"

namespace saffron {

KeyCounts CountsOfCipherKey(const CountTable& lag, const SparseRows& cipher) {
  KeyCounts counts{Matrix<double>::Zero(lag.rows(), cipher.dim)};
  for (int w = 0; w < lag.rows(); ++w) {
    for (int32_t i = lag.begin[w]; i < lag.begin[w + 1]; ++i) {
      double* row = counts.token_major.row(lag.next[i]).data();
      for (int32_t e = cipher.begin[w]; e < cipher.begin[w + 1]; ++e) {
        row[cipher.index[e]] += static_cast<double>(lag.count[i]) * cipher.value[e];
      }
    }
  }
  return counts;
}

KeyCounts CountsOfContextKey(const CountTable& lag, const Matrix<float>& context) {
  KeyCounts counts{Matrix<double>::Zero(lag.rows(), context.cols())};
  for (int w = 0; w < lag.rows(); ++w) {
    const Eigen::RowVectorXd features = context.row(w).cast<double>();
    for (int32_t i = lag.begin[w]; i < lag.begin[w + 1]; ++i) {
      counts.token_major.row(lag.next[i]) += static_cast<double>(lag.count[i]) * features;
    }
  }
  return counts;
}

Matrix<double> CountsByOutput(const KeyCounts& counts, const SparseRows* targets) {
  if (targets == nullptr) return counts.token_major.transpose();
  Matrix<double> by_output = Matrix<double>::Zero(targets->dim, counts.dim());
  for (int y = 0; y < targets->rows(); ++y) {
    for (int32_t e = targets->begin[y]; e < targets->begin[y + 1]; ++e) {
      by_output.row(targets->index[e]) += targets->value[e] * counts.token_major.row(y);
    }
  }
  return by_output.transpose();
}

std::vector<double> OutputPrior(const std::vector<int64_t>& token_counts,
                                const SparseRows* targets) {
  double total = 0;
  for (int64_t n : token_counts) total += static_cast<double>(n) + 0.5;
  std::vector<double> p;
  p.reserve(token_counts.size());
  for (int64_t n : token_counts) p.push_back((static_cast<double>(n) + 0.5) / total);
  if (targets == nullptr) return p;
  std::vector<double> by_output(targets->dim);
  for (int y = 0; y < targets->rows(); ++y) {
    for (int32_t e = targets->begin[y]; e < targets->begin[y + 1]; ++e) {
      by_output[targets->index[e]] += p[y] * targets->value[e];
    }
  }
  // A bit that no code uses still needs a positive prior.
  for (double& v : by_output) v = std::max(v, 0.5 / total);
  return by_output;
}

std::vector<double> MassShares(const Matrix<double>& f, double count) {
  std::vector<double> share(f.cols());
  double mass = 0;
  for (int64_t j = 0; j < f.rows(); ++j) {
    for (int64_t i = 0; i < f.cols(); ++i) {
      share[i] += f(j, i);
      mass += f(j, i);
    }
  }
  const double half = mass / count / 2;
  for (double& s : share) s = (s + half) / (mass + half * static_cast<double>(f.cols()));
  return share;
}

void PointwiseEvidence(const Matrix<double>& f, const std::vector<double>& p, double alpha,
                       double kappa, Eigen::Ref<Matrix<float>> r) {
  const int64_t outputs = f.cols();
  CHECK(alpha > 0 && r.rows() == f.rows() && r.cols() >= outputs);
  for (int64_t j = 0; j < f.rows(); ++j) {
    const double* row = f.row(j).data();
    float* out = r.row(j).data();
    double total = 0;
    for (int64_t i = 0; i < outputs; ++i) total += row[i];
    for (int64_t i = 0; i < outputs; ++i) {
      out[i] = static_cast<float>((row[i] + alpha * p[i]) / ((total + alpha) * p[i]));
    }
    LogInPlace(out, outputs);
    if (kappa > 0) {
      for (int64_t i = 0; i < outputs; ++i) {
        const double m = std::max(row[i], total * p[i]);
        out[i] *= static_cast<float>(m / (m + kappa));
      }
    }
    std::fill(out + outputs, out + r.cols(), 0.0f);
  }
}

}  // namespace saffron
