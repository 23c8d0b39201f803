#pragma once
// Attention of a SAFFU layer: scores, and their explicit solution by one pass of EM.
//
//   s_k = beta_k + q' W_k X_k,   A = softmax(s),   q = X_1
//
// The layer's softmax of A-weighted evidence is approximated by the mixture sum_k A_k P_k(y | X_k),
// whose posterior says how much each key explains each target. One pass of EM (Dempster, Laird &
// Rubin, 1977) gathers it, and W is the log ratio of posterior-weighted to plain co-occurrence of
// query and key: the conditional-logit analogue of the evidence R.

#include <cstdint>
#include <vector>

#include "core/math/matrix.h"
#include "core/model/saffu_params.h"
#include "core/solve/key_counts.h"
#include "core/solve/key_window.h"
#include "core/solve/target_groups.h"

namespace saffron {

// Gains g A_k of single targets under fixed parameters. Thread-safe.
class AttentionGains {
 public:
  // Copies what it needs of `params`. keys[0] must be a token key.
  AttentionGains(const FeatureTables& features, const SaffuLayerParams<float>& params);
  // gains[NK] of a target that `window` has loaded.
  void At(const KeyWindow& window, int64_t t, float* gains) const;
  // All targets, [targets, NK], in the order given.
  Matrix<float> OfTargets(KeyWindow* window, absl::Span<const int32_t> targets) const;

 private:
  float gain_;
  std::vector<float> beta_;
  // By query token. Where that token fixes the key's vector too, the score; else E W_k.
  std::vector<std::vector<float>> fixed_score_;  // [NK] of [V] or empty
  std::vector<Matrix<float>> query_times_w_;     // [NK] of [V, dim_k] or empty
};

// P_k(y | j) = (F_k(j,y) + alpha p_y) / (F_k(j,.) + alpha), by token: [V, dim]. `f` is by output,
// [dim, N], `p` its prior; with soft targets the probability of a token is its targets' mean.
Matrix<float> LikelihoodByToken(const Matrix<double>& f, const std::vector<double>& p, double alpha,
                                const SparseRows* soft);

// One EM pass over the targets.
//   pi_k = sum_j X_kj P_k(y|j) / |X_k|,   r_k = A_k pi_k / sum_l A_l pi_l
//   G_k = sum q (r_k X_k)',  C_k = sum q X_k',  rho_k = mean r_k
//   W_k = log((G_k + a rho_k) / (C_k + a)) - log rho_k,   a = 20
// `shares` are the static A_k; `likelihood[k]` comes from LikelihoodByToken. Returns W for gamma =
// 1, [NK] of [dim_q, dim_k]. O(tokens NK b), sums in double in a fixed order.
std::vector<Matrix<double>> SolveAttention(GroupedTargets* targets,
                                           const std::vector<double>& shares,
                                           const std::vector<const Matrix<float>*>& likelihood);

// F_k with every target weighted by its attention, sum_t g A_k(t) X_k(t) y_t', [NK].
std::vector<KeyCounts> CountAttended(const AttentionGains& gains, GroupedTargets* targets);

}  // namespace saffron
