#pragma once
// Loss of a SAFFU layer on hold-out targets as a function of its keys' gains: the inner loop of
// every explicit solve.
//
//   z_i(t) = log p_i + sum_k lambda_k r_k,i(t),   r_k(t) = X_k(t)' R_k
//   loss   = sum_t ( log sum_i exp z_i - sum_i y_i z_i )
//   -dloss/dlambda_k = sum_t ( y'r_k - E r_k ),   d2loss/dlambda_k dlambda_l = sum_t Cov(r_k, r_l)
// with E and Cov under softmax(z). Derivatives of log-sum-exp: Boyd & Vandenberghe, "Convex
// Optimization", 2004, 3.1.5.

#include <cstdint>
#include <vector>

#include "absl/types/span.h"
#include "core/math/aligned_array.h"
#include "core/math/matrix.h"
#include "core/model/feature_tables.h"
#include "core/solve/calibrate.h"
#include "core/solve/key_window.h"
#include "core/solve/moment_kernels.h"

namespace saffron {

// Columns of evidence are padded to a multiple of this.
inline constexpr int kColumnPadding = kMomentLanes;
inline int PaddedColumns(int outputs) {
  return (outputs + kColumnPadding - 1) / kColumnPadding * kColumnPadding;
}

// What the gains weigh. Pointers must outlive their use.
struct Evidence {
  int outputs = 0;                      // N
  std::vector<const Matrix<float>*> r;  // [NK] of [dim_k, PaddedColumns(N)]; may repeat (sum head)
  const std::vector<double>* p = nullptr;  // [N] prior
};

// Keys of a fixed list of targets, and the loss over them. Not thread-safe.
class HoldoutLoss {
 public:
  // `soft` (null: one-hot) maps tokens to target distributions.
  HoldoutLoss(KeyWindow* window, std::vector<int32_t> targets, const SparseRows* soft);

  int64_t size() const { return static_cast<int64_t>(targets_.size()); }
  int num_keys() const { return static_cast<int>(rows_.size()); }
  // In an order of our own: those that share the first key's token are neighbours, so that its
  // evidence is still at hand.
  absl::Span<const int32_t> targets() const { return targets_; }

  // Sets what the gains weigh from here on.
  void SetEvidence(Evidence evidence);
  // Loss and derivatives in the gains lambda[NK].
  GainLoss AtGains(const std::vector<double>& gains);
  // Loss alone, at gains of every target's own, [targets, NK], or shared by all, [1, NK].
  double AtGainsOfTargets(const Matrix<float>& gains);

 private:
  // The distinct vectors of one key over the targets, and which of them each target has. Evidence
  // of sparse vectors is gathered from a few rows of R; that of dense ones is tabulated.
  struct KeyRows {
    std::vector<int32_t> row_of;  // [targets]
    SparseRows sparse;            // the distinct vectors, if sparse
    Matrix<float> dense;          // else
    bool is_dense() const { return dense.size() > 0; }
  };
  // Evidence of a dense key's distinct vectors: of one block of columns, filled again for every
  // block and evaluation; or, where room allows, of all columns, filled once per evidence.
  struct Table {
    AlignedArray<float> values;
    int64_t stride = 0;
    bool kept = false;
    int64_t filled = 0;  // columns, if kept
  };
  struct Moments;
  struct TargetRows;

  KeyRows GatherTokenKey(const KeyWindow& window, int k) const;
  void GatherPositionKeys(KeyWindow* window);
  double EvidenceAt(int k, int32_t row, int32_t output) const;  // r_k of a distinct vector
  void SizeTables();
  // Table of dense key k at columns [column, column + columns); row i starts at
  // returned + i * tables_[k].stride.
  const float* TableBlock(int k, int64_t column, int64_t columns);
  void FindRows(int64_t target, int64_t column, const std::vector<const float*>& tables,
                TargetRows* found) const;
  void GatherEvidence(const TargetRows& found, int64_t columns, float* buffers,
                      std::vector<const float*>* r) const;
  // Moments of r under softmax(z) of targets [first, last). `gains` has one row, or one a target.
  template <bool kDerivatives>
  Moments Accumulate(const Matrix<float>& gains, int64_t first, int64_t last);

  std::vector<int32_t> targets_;
  std::vector<int32_t> tokens_;  // s[t] of each target
  const SparseRows* soft_;
  std::vector<KeyRows> rows_;  // [NK]
  std::vector<Table> tables_;  // [NK], empty for sparse keys

  Evidence evidence_;
  std::vector<float> log_p_;   // [PaddedColumns(N)], -inf in the padding
  Matrix<double> of_targets_;  // [targets, NK] y'r_k
  double prior_nats_ = 0;      // -sum y'log p
};

}  // namespace saffron
