#pragma once
// The explicit solution of one SAFFU layer.
//
//   1 count     F_k = sum_t X_k(t) y_t'
//   2 evidence  R_k = pmi(F_k), gains lambda on the hold-out; g = sum lambda, A_k = lambda_k / g
//   3 weights   concat: U = [R_1; ...] + log p / g
//               sum:    R = pmi(sum_k A_k F_k), gains again, U = R + log p / g
//   4 attention one EM pass gives W; its scale gamma of {0, 1/2, 1, 2} by the hold-out
//   5 recount   F again with the attention's weights, kept when the hold-out likes it better
// K-norm evidence after Williams & Zhao, arXiv:2311.07498, in its pointwise-mutual-information
// form; shrinkage, gains, attention and stacking are this project's own.

#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "core/data/data_store.h"
#include "core/solve/key_window.h"
#include "core/solve/saffu_solve.h"

namespace saffron {

// Adds the CPU seconds between calls to named stages.
class StageClock {
 public:
  explicit StageClock(std::map<std::string, double>* seconds);
  void Lap(const std::string& stage);

 private:
  std::map<std::string, double>* seconds_;
  double last_ = 0;
};

struct LayerProblem {
  const SaffuSolveSpec& spec;
  const SaffuLayerShape& shape;
  const FeatureTables& features;
  const TextDataset& data;
  const SparseRows* soft;     // targets of a lower layer; null: the next token itself
  const LowerOutputs* below;  // null for the bottom layer
  StatisticsCache& cache;
};

absl::StatusOr<SaffuLayerSolution> SolveLayer(const LayerProblem& problem, StageClock* clock);

}  // namespace saffron
