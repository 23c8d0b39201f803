#pragma once
// Keys against next tokens: F_k(j, y) = sum_t X_kj(t) [s[t] = y] over the targets not held out.

#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "core/data/data_store.h"
#include "core/math/matrix.h"
#include "core/model/feature_tables.h"
#include "core/solve/count_table.h"

namespace saffron {

// F_k transposed, by next token: token_major(y, j) = F_k(j, y). In double, summed in a fixed order
// (ascending tokens, or positions of the stream), so that no sharding shows.
struct KeyCounts {
  Matrix<double> token_major;  // [V, dim]

  int dim() const { return static_cast<int>(token_major.cols()); }
};

// x keys: F = E' C, E sparse.
KeyCounts CountsOfCipherKey(const CountTable& lag, const SparseRows& cipher);
// c keys: F = Ec' C, Ec dense.
KeyCounts CountsOfContextKey(const CountTable& lag, const Matrix<float>& context);

// Counts against soft targets: F(j, i) = sum_y F(j, y) target(y, i), [dim, outputs]; for the top
// layer
// (`targets` null) the plain transpose, [dim, V].
Matrix<double> CountsByOutput(const KeyCounts& counts, const SparseRows* targets);

// p_i of the outputs: (n_y + 1/2) / sum over tokens, taken through the soft targets if any.
std::vector<double> OutputPrior(const std::vector<int64_t>& token_counts,
                                const SparseRows* targets);

// s_i = (sum_j F_ji + m / 2) / sum with m = mass / count, the mean mass of a target: the prior's
// counterpart for keys whose norm varies, as softmax_regression.h explains.
std::vector<double> MassShares(const Matrix<double>& f, double count);

// R(j, i) = log((F_ji + alpha p_i) / ((F_j. + alpha) p_i)) m / (m + kappa), m = max(F_ji, F_j.
// p_i): the evidence of feature j for output i beyond the prior, shrunk where it rests on few
// counts. F[dim, N] >= 0, alpha > 0, p > 0; `r` is [dim, stride], stride >= N, columns beyond N
// zero. Differences of logarithms are taken in double ratios, the logarithm itself in float.
void PointwiseEvidence(const Matrix<double>& f, const std::vector<double>& p, double alpha,
                       double kappa, Eigen::Ref<Matrix<float>> r);

}  // namespace saffron
