#pragma once
// The logits of one target after the other, by the evidence that they are made of.

#include <algorithm>
#include <cstdint>
#include <vector>

#include "absl/types/span.h"
#include "core/log_linear/dense_evidence.h"
#include "core/log_linear/log_linear_shape.h"
#include "core/log_linear/position_evidence.h"

namespace saffron {

// Not thread-safe. No memory is allocated by ForEach, once it has seen long rows.
template <typename T>
class EvidenceLogits {
 public:
  static constexpr size_t kTogether = DenseEvidence<T>::kTogether;

  // As PositionEvidence and DenseEvidence: all must outlive this. The tables may change between
  // calls.
  EvidenceLogits(const LogLinearShape& shape, const LogLinearTables<T>& tables,
                 absl::Span<const int32_t> stream, Counted counted)
      : shape_(shape),
        tables_(tables),
        sparse_(shape, tables, stream, counted),
        dense_(shape, tables.dense, stream, counted),
        base_(tables.vocab()),
        z_(tables.vocab()) {}

  // visit(n, rows, dense rows, z[V]) of targets[n] for all n in order, under these gains. It may
  // change z. Targets n / kTogether * kTogether up to n are those that dense() has loaded.
  template <typename Index, typename Visit>
  void ForEach(absl::Span<const Index> targets, absl::Span<const double> gains, Visit visit) {
    FillBaseLogits(shape_, tables_, gains, base_.data());
    for (size_t n = 0; n < targets.size(); ++n) {
      if (n % kTogether == 0) dense_.Load(targets.subspan(n, kTogether));
      const auto rows = sparse_.RowsOf(targets[n]);
      const auto dense = dense_.RowsOf(static_cast<int64_t>(n % kTogether));
      std::copy(base_.begin(), base_.end(), z_.begin());
      AddRows(rows, gains, z_.data());
      AddDenseRows(dense, gains, static_cast<int64_t>(z_.size()), z_.data());
      visit(n, rows, dense, z_.data());
    }
  }
  const DenseEvidence<T>& dense() const { return dense_; }

 private:
  const LogLinearShape& shape_;
  const LogLinearTables<T>& tables_;
  PositionEvidence<T> sparse_;
  DenseEvidence<T> dense_;
  std::vector<T> base_, z_;  // [V]
};

}  // namespace saffron
