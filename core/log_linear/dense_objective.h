#pragma once
// The loss of targets as a function of what is added to the solved dense tables, and its gradient:
//
//   r_k(t) = X_k(t)' (R_k + D_k),   dL/dD_k = sum_t gain_k(t) X_k(t) (p - y)_t' / targets
//
// D begins at zero, where the model is the solved one, and weight decay draws it back there. Each
// target is left out of the counts behind R and of its context vector, which leaves training what
// the explicit solution cannot know: how the evidence of several keys overlaps. A row of D is
// shared by a good part of the text, but the column of a rare type has only its few targets to
// learn from.

#include <cstdint>
#include <vector>

#include "absl/types/span.h"
#include "core/log_linear/evidence_logits.h"
#include "core/math/aligned_array.h"
#include "core/math/matrix.h"

namespace saffron {

// Not thread-safe. Float for training, double to check gradients.
template <typename T>
class DenseObjective {
 public:
  // All must outlive this. `tables` are those of the shape, with dense keys; Set() changes them.
  // kLeftOut: `stream` is the text that they count.
  DenseObjective(const LogLinearShape& shape, absl::Span<const double> gains,
                 absl::Span<const int32_t> stream, Counted counted, LogLinearTables<T>* tables);

  // Numbers in D: [keys, b, V], row-major.
  int64_t size() const;
  // Puts R + D in place of R. `d` is read until the next call, also by evidence of a left out
  // target, and must not change in between.
  void Set(absl::Span<const T> d);
  // Mean loss of ascending targets of the stream; its gradient by D replaces what was there.
  // Allocates nothing.
  double At(absl::Span<const int64_t> targets, absl::Span<T> gradient);

 private:
  // Adds the gradient of the first `targets` loaded ones.
  void AddGradient(int64_t targets, T* gradient);
  DenseTables<T>& dense() { return tables_.dense; }

  const absl::Span<const double> gains_;
  const absl::Span<const int32_t> stream_;
  LogLinearTables<T>& tables_;
  const int64_t vocab_, bits_;
  std::vector<DenseTable<T>> solved_;  // of each key r and packed alone
  EvidenceLogits<T> logits_;
  Matrix<T> slope_;         // [kTogether, V] dL/dz of loaded targets
  AlignedArray<T> packed_;  // the same for GemmPacked
  Matrix<T> inputs_;        // [kTogether, b] gain_k X_k
};

}  // namespace saffron
