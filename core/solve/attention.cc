#include "core/solve/attention.h"

#include <immintrin.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "core/base/check.h"
#include "core/math/exp.h"
#include "core/math/simd.h"

namespace saffron {
namespace {

// Pseudo-count of query-key pairs at the mean responsibility.
constexpr double kPairPrior = 20;

float DenseDot(const float* x, const float* row, int size) {
  using S = Simd<float>;
  S::Reg lanes = S::Zero();
  int e = 0;
  for (; e + S::kLanes <= size; e += S::kLanes) {
    lanes = S::MulAdd(S::Load(x + e), S::Load(row + e), lanes);
  }
  float sum = S::Sum(lanes);
  for (; e < size; ++e) sum += x[e] * row[e];
  return sum;
}

// <x, row>, in a fixed order wherever the vectors lie.
inline float Dot(const KeyVector& x, const float* row) {
  if (x.index == nullptr) return DenseDot(x.value, row, x.size);
  float sum = 0;
  for (int e = 0; e < x.size; ++e) sum += x.value[e] * row[x.index[e]];
  return sum;
}

// sum += times * x
inline void Add(const KeyVector& x, double times, double* sum) {
  if (x.index == nullptr) {
    for (int e = 0; e < x.size; ++e) sum[e] += times * x.value[e];
  } else {
    for (int e = 0; e < x.size; ++e) sum[x.index[e]] += times * x.value[e];
  }
}

// sums[j] += {x_j, r x_j}, pairs side by side.
inline void AddPairs(const KeyVector& x, double r, double* sums) {
  const __m128d times = _mm_set_pd(r, 1);
  for (int e = 0; e < x.size; ++e) {
    double* pair = sums + 2 * (x.index == nullptr ? e : x.index[e]);
    const __m128d value = _mm_mul_pd(times, _mm_set1_pd(x.value[e]));
    _mm_storeu_pd(pair, _mm_add_pd(_mm_loadu_pd(pair), value));
  }
}

// scores = gain * softmax(scores).
inline void ScaledSoftmax(float gain, int keys, float* scores) {
  constexpr int kLanes = Simd<float>::kLanes;
  if (keys > kLanes) {
    SoftmaxInPlace(scores, keys);
    for (int k = 0; k < keys; ++k) scores[k] *= gain;
    return;
  }
  alignas(32) float lanes[kLanes];
  std::fill_n(lanes, kLanes, -std::numeric_limits<float>::infinity());
  std::copy_n(scores, keys, lanes);
  using S = Simd<float>;
  const S::Reg s = S::Load(lanes);
  const S::Reg e = ExpOfNonPositive(S::Sub(s, S::Broadcast(S::MaxLane(s))));
  S::Store(lanes, S::Mul(e, S::Broadcast(gain / S::Sum(e))));
  std::copy_n(lanes, keys, scores);
}

double Norm(const KeyVector& x) { return std::accumulate(x.value, x.value + x.size, 0.0); }

}  // namespace

AttentionGains::AttentionGains(const FeatureTables& features, const SaffuLayerParams<float>& params)
    : gain_(params.gain), beta_(params.beta) {
  fixed_score_.resize(beta_.size());
  query_times_w_.resize(beta_.size());
  if (params.w.empty()) return;
  const KeySpec& query = params.shape.keys[0];
  const int vocab = features.cipher.rows();
  const float* w = params.w.data();
  for (int k = 0; k < params.shape.num_keys(); ++k) {
    const KeySpec& key = params.shape.keys[k];
    Matrix<float> product = Matrix<float>::Zero(vocab, key.dim);
    const Eigen::Map<const Matrix<float>> w_k(w, query.dim, key.dim);
    for (int token = 0; token < vocab; ++token) {
      const KeyVector q = TokenKeyVector(features, query, token);
      for (int e = 0; e < q.size; ++e) {
        product.row(token) += q.value[e] * w_k.row(q.index == nullptr ? e : q.index[e]);
      }
    }
    w += int64_t{query.dim} * key.dim;
    if (!FixedByQuery(params.shape.keys, k)) {
      query_times_w_[k] = std::move(product);
      continue;
    }
    for (int token = 0; token < vocab; ++token) {
      const KeyVector x = TokenKeyVector(features, key, token);
      fixed_score_[k].push_back(Dot(x, product.row(token).data()));
    }
  }
}

void AttentionGains::At(const KeyWindow& window, int64_t t, float* gains) const {
  const int keys = static_cast<int>(beta_.size());
  const int32_t query = TokenOfKey(window.stream(), window.features().padding, window.keys()[0], t);
  for (int k = 0; k < keys; ++k) {
    gains[k] = beta_[k];
    if (!fixed_score_[k].empty()) gains[k] += fixed_score_[k][query];
    if (query_times_w_[k].size() > 0) {
      gains[k] += Dot(window.At(k, t), query_times_w_[k].row(query).data());
    }
  }
  ScaledSoftmax(gain_, keys, gains);
}

Matrix<float> AttentionGains::OfTargets(KeyWindow* window,
                                        absl::Span<const int32_t> targets) const {
  Matrix<float> gains(static_cast<int64_t>(targets.size()), static_cast<int64_t>(beta_.size()));
  std::vector<int32_t> by_position(targets.size());
  std::iota(by_position.begin(), by_position.end(), 0);
  std::sort(by_position.begin(), by_position.end(),
            [&](int32_t a, int32_t b) { return targets[a] < targets[b]; });
  constexpr int64_t kSpan = 256;
  int64_t loaded_end = -1;
  for (const int32_t i : by_position) {
    const int64_t t = targets[i];
    if (t >= loaded_end) {
      loaded_end = std::min<int64_t>(t + kSpan, static_cast<int64_t>(window->stream().size()));
      window->Load(t, loaded_end);
    }
    At(*window, t, gains.row(i).data());
  }
  return gains;
}

Matrix<float> LikelihoodByToken(const Matrix<double>& f, const std::vector<double>& p, double alpha,
                                const SparseRows* soft) {
  const int64_t outputs = f.cols();
  Matrix<float> by_output(outputs, f.rows());
  for (int64_t j = 0; j < f.rows(); ++j) {
    double total = alpha;
    for (int64_t i = 0; i < outputs; ++i) total += f(j, i);
    for (int64_t i = 0; i < outputs; ++i) {
      by_output(i, j) = static_cast<float>((f(j, i) + alpha * p[i]) / total);
    }
  }
  if (soft == nullptr) return by_output;
  Matrix<float> by_token = Matrix<float>::Zero(soft->rows(), f.rows());
  for (int y = 0; y < soft->rows(); ++y) {
    for (int32_t e = soft->begin[y]; e < soft->begin[y + 1]; ++e) {
      by_token.row(y) += soft->value[e] * by_output.row(soft->index[e]);
    }
  }
  return by_token;
}

namespace {

class AttentionPass {
 public:
  AttentionPass(const KeyWindow& window, const std::vector<double>& shares,
                const std::vector<const Matrix<float>*>& likelihood)
      : window_(window),
        shares_(shares),
        likelihood_(likelihood),
        keys_(static_cast<int>(window.keys().size())),
        of_query_(keys_),
        x_(keys_),
        rho_(keys_),
        pi_(keys_) {
    for (int k = 0; k < keys_; ++k) {
      const int dim = window_.keys()[k].dim;
      explained_.push_back(Matrix<double>::Zero(window_.keys()[0].dim, dim));
      plain_.push_back(explained_.back());
      of_query_[k].fixed = FixedByQuery(window_.keys(), k);
      of_query_[k].sums = Matrix<double>::Zero(dim, 2);
    }
  }

  std::vector<Matrix<double>> Run(GroupedTargets* targets) {
    int32_t query = -1;
    int64_t of_query = -1;  // some target with that query token
    targets->ForEach([&](const TargetGroup& group) {
      if (query >= 0 && group.query != query) Fold(query, of_query);
      query = group.query;
      of_query = group.targets[0];
      AddGroup(group);
    });
    if (query >= 0) Fold(query, of_query);
    return LogRatios();
  }

 private:
  // Sums over the targets of the current query token.
  struct QuerySums {
    bool fixed = false;  // the query token fixes the key's vector: only its responsibility is kept
    double responsibility = 0;
    Matrix<double> sums;  // [dim, 2]: sum X_k, sum r_k X_k
  };

  double Likelihood(int k, const KeyVector& x, int32_t next) const {
    const double pi = Dot(x, likelihood_[k]->row(next).data());
    return window_.features().constant_norm() ? pi : pi / Norm(x);
  }

  void AddGroup(const TargetGroup& group) {
    for (const Matrix<float>* table : likelihood_) {
      PrefetchRow(table->row(group.soon).data(), table->cols());
    }
    for (int k = 0; k < keys_; ++k) {
      if (!of_query_[k].fixed) continue;
      pi_[k] = shares_[k] * Likelihood(k, window_.At(k, group.targets[0]), group.next);
    }
    for (const int32_t& t : group.targets) {
      GroupedTargets::Prefetch(window_.stream(), t);
      double total = 0;
      for (int k = 0; k < keys_; ++k) {
        if (!of_query_[k].fixed) {
          x_[k] = window_.At(k, t);
          pi_[k] = shares_[k] * Likelihood(k, x_[k], group.next);
        }
        total += pi_[k];
      }
      const double scale = 1 / total;
      for (int k = 0; k < keys_; ++k) {
        const double r = pi_[k] * scale;
        QuerySums& sums = of_query_[k];
        sums.responsibility += r;
        if (sums.fixed) continue;
        AddPairs(x_[k], r, sums.sums.data());
      }
    }
    of_query_targets_ += static_cast<double>(group.targets.size());
    targets_ += static_cast<int64_t>(group.targets.size());
  }

  // Adds the outer products of the query with the sums of its targets, and clears the sums.
  void Fold(int32_t query, int64_t any_target) {
    const KeyVector q = TokenKeyVector(window_.features(), window_.keys()[0], query);
    for (int k = 0; k < keys_; ++k) {
      QuerySums& sums = of_query_[k];
      if (sums.fixed) {
        const KeyVector x = window_.At(k, any_target);
        for (int e = 0; e < x.size; ++e) {
          const int j = x.index == nullptr ? e : x.index[e];
          sums.sums(j, 0) += of_query_targets_ * x.value[e];
          sums.sums(j, 1) += sums.responsibility * x.value[e];
        }
      }
      for (int e = 0; e < q.size; ++e) {
        const int i = q.index == nullptr ? e : q.index[e];
        plain_[k].row(i) += double{q.value[e]} * sums.sums.col(0).transpose();
        explained_[k].row(i) += double{q.value[e]} * sums.sums.col(1).transpose();
      }
      rho_[k] += sums.responsibility;
      sums.sums.setZero();
      sums.responsibility = 0;
    }
    of_query_targets_ = 0;
  }

  std::vector<Matrix<double>> LogRatios() {
    std::vector<Matrix<double>> w;
    for (int k = 0; k < keys_; ++k) {
      const double rho = std::max(rho_[k] / static_cast<double>(targets_), 1e-12);
      w.push_back(
          ((explained_[k].array() + kPairPrior * rho) / (plain_[k].array() + kPairPrior)).log() -
          std::log(rho));
    }
    return w;
  }

  const KeyWindow& window_;
  const std::vector<double>& shares_;
  const std::vector<const Matrix<float>*>& likelihood_;
  const int keys_;
  std::vector<Matrix<double>> plain_, explained_;  // [NK] of [dim_q, dim_k]: C_k and G_k
  std::vector<QuerySums> of_query_;                // [NK]
  double of_query_targets_ = 0;
  std::vector<KeyVector> x_;      // [NK] of the target at hand
  std::vector<double> rho_, pi_;  // [NK]
  int64_t targets_ = 0;
};

}  // namespace

std::vector<Matrix<double>> SolveAttention(GroupedTargets* targets,
                                           const std::vector<double>& shares,
                                           const std::vector<const Matrix<float>*>& likelihood) {
  const KeyWindow& window = targets->window();
  CHECK(IsTokenKey(window.keys()[0]) && shares.size() == window.keys().size() &&
        likelihood.size() == shares.size());
  return AttentionPass(window, shares, likelihood).Run(targets);
}

std::vector<KeyCounts> CountAttended(const AttentionGains& gains, GroupedTargets* targets) {
  const KeyWindow& window = targets->window();
  const int keys = static_cast<int>(window.keys().size());
  std::vector<KeyCounts> counts;
  std::vector<char> fixed;
  for (int k = 0; k < keys; ++k) {
    counts.push_back({Matrix<double>::Zero(window.features().cipher.rows(), window.keys()[k].dim)});
    fixed.push_back(FixedByQuery(window.keys(), k));
  }
  std::vector<float> of_target(keys);
  std::vector<double> of_group(keys);
  targets->ForEach([&](const TargetGroup& group) {
    std::fill(of_group.begin(), of_group.end(), 0);
    const auto row = [&](int k) { return counts[k].token_major.row(group.next).data(); };
    for (const KeyCounts& key : counts) {
      PrefetchRow(key.token_major.row(group.soon).data(), key.dim());
    }
    for (const int32_t& t : group.targets) {
      GroupedTargets::Prefetch(window.stream(), t);
      gains.At(window, t, of_target.data());
      for (int k = 0; k < keys; ++k) {
        of_group[k] += of_target[k];
        if (!fixed[k]) Add(window.At(k, t), of_target[k], row(k));
      }
    }
    for (int k = 0; k < keys; ++k) {
      if (!fixed[k]) continue;
      Add(window.At(k, group.targets[0]), of_group[k], row(k));
    }
  });
  return counts;
}

}  // namespace saffron
