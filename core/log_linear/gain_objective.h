#pragma once
// The convex loss that gains are fitted by, on held-out targets: value, gradient, curvature.

#include <cstdint>
#include <vector>

#include "absl/types/span.h"
#include "core/log_linear/evidence_logits.h"
#include "core/math/matrix.h"

namespace saffron {

struct GainLoss {
  double nats = 0;          // sum over the targets
  Vector<double> gradient;  // [gains]
  // About its second derivatives, [gains, gains]: from every so many targets, and without types of
  // probability below kHessianFloor. Positive semidefinite, as the truth is.
  Matrix<double> hessian;
};

// gradient += that of the loss of one target with evidence `rows`, from d[V] = dL/dz, its
// derivatives by the logits. [gains]
template <typename T>
void AddGainGradient(const LogLinearShape& shape, const LogLinearTables<T>& tables,
                     absl::Span<const EvidenceRow<T>> rows, const T* d, double* gradient);

// In the precision of its tables.
template <typename T>
class GainObjective {
 public:
  static constexpr float kHessianFloor = 3e-4f;

  // All must outlive this. `targets` of `stream` ascend.
  GainObjective(const LogLinearShape& shape, const LogLinearTables<T>& tables,
                absl::Span<const int32_t> stream, std::vector<int32_t> targets,
                Counted counted = Counted::kAsIs);

  void SetTargets(std::vector<int32_t> targets) { targets_ = std::move(targets); }

  // Sums over the targets in their order; they add up over shards of the targets. Curvature is that
  // of every `curvature_every`-th target; 0: none, and the matrix stays empty.
  GainLoss At(const Vector<double>& gains, int64_t curvature_every);

  int64_t targets() const { return static_cast<int64_t>(targets_.size()); }
  // How many rows each gain weighed at the last point. [gains]
  const std::vector<int64_t>& uses() const { return uses_; }

 private:
  using Rows = absl::Span<const EvidenceRow<T>>;
  using DenseRows = absl::Span<const DenseRow<T>>;
  void CountUses(Rows rows, DenseRows dense);
  void AddCurvature(Rows rows, DenseRows dense, const T* p, GainLoss* loss);

  const LogLinearShape& shape_;
  const LogLinearTables<T>& tables_;
  const absl::Span<const int32_t> stream_;
  std::vector<int32_t> targets_;
  EvidenceLogits<T> logits_;
  std::vector<int64_t> uses_;
  std::vector<int16_t> place_;  // [V] column in features_, -1: too improbable
  std::vector<uint16_t> kept_;  // types with a column
  Matrix<T> features_;          // [features of a position, kept types]
  std::vector<int> feature_;    // gain that a row of features_ is about
};

}  // namespace saffron
