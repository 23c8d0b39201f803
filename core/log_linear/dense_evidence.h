#pragma once
// Dense evidence of a few positions of a stream at a time.

#include <cstdint>
#include <optional>
#include <vector>

#include "absl/types/span.h"
#include "core/log_linear/dense_tables.h"
#include "core/log_linear/log_linear_shape.h"
#include "core/log_linear/position_evidence.h"
#include "core/math/aligned_array.h"
#include "core/solve/key_window.h"

namespace saffron {

// r_k(t): its part of the logits is gains[gain] * value.
template <typename T>
struct DenseRow {
  const T* value;  // [V]
  int gain;
};

// X_k(t): all b features where index is null.
template <typename T>
struct DenseInput {
  const int32_t* index;
  const T* value;
  int size;
};

// Not thread-safe.
//
// Where a counted target y is left out, its key vector X leaves column y of F, and its code leaves
// the context vector of the token before it. Rows of F sum to less too; that adds the same to the
// evidence for every token, which softmax does not see, but for the shrinkage of cells near kappa.
// What the changed context vector would have been in the counts of other targets stays, and so does
// what training has added to R.
template <typename T>
class DenseEvidence {
 public:
  // How many targets are worth looking at together: more, and their rows do not stay in the cache;
  // fewer, and the tables are read too often.
  static constexpr int kTogether = 32;

  // All must outlive this. kLeftOut: `stream` is the text that the tables count.
  DenseEvidence(const LogLinearShape& shape, const DenseTables<T>& tables,
                absl::Span<const int32_t> stream, Counted counted);

  // Makes the rows of at most kTogether targets, int32_t or int64_t, readable.
  template <typename Index>
  void Load(absl::Span<const Index> targets);
  // Of the n-th loaded target, one row a key. Valid until the next Load.
  absl::Span<const DenseRow<T>> RowsOf(int64_t n) const {
    return absl::MakeConstSpan(rows_).subspan(n * keys(), keys());
  }
  // Its key vectors, where it is left out without it. Likewise.
  absl::Span<const DenseInput<T>> InputsOf(int64_t n) const {
    return absl::MakeConstSpan(key_inputs_).subspan(n * keys(), keys());
  }
  // Of target t, which is loaded, with those that follow it, where it is not. Valid until the next
  // call.
  absl::Span<const DenseRow<T>> At(int64_t t);

 private:
  int64_t keys() const { return static_cast<int64_t>(tables_.keys.size()); }
  T* RowOf(int64_t n, int64_t k) { return values_.data() + (n * keys() + k) * vocab_; }
  T* InputOf(int64_t n, int64_t k) { return inputs_.data() + (k * kTogether + n) * bits_; }
  void LoadKey(int64_t n, int64_t k, int64_t t);
  int GainOf(int64_t k, int32_t token) const;
  T LeftOutOf(int64_t k, const KeyVector& counted, const T* x, int32_t next) const;

  const LogLinearShape& shape_;
  const DenseTables<T>& tables_;
  const absl::Span<const int32_t> stream_;
  const Counted counted_;
  const int64_t vocab_, bits_;
  std::optional<KeyWindow> window_;
  int64_t run_first_ = 0, run_ = 0;        // targets that At() has loaded
  std::vector<DenseRow<T>> rows_;          // [kTogether, keys]
  std::vector<DenseInput<T>> key_inputs_;  // likewise
  std::vector<T> left_out_;                // likewise: the evidence for a left out target itself
  AlignedArray<T> values_;                 // [kTogether, keys, V]
  AlignedArray<T> inputs_;                 // [keys, kTogether, bits]
};

// z += gains * rows.
template <typename T>
void AddDenseRows(absl::Span<const DenseRow<T>> rows, absl::Span<const double> gains, int64_t vocab,
                  T* z);
// gradient += that of the loss of the rows' target by their gains, from d[V] = dL/dz.
template <typename T>
void AddDenseGradient(absl::Span<const DenseRow<T>> rows, const T* d, int64_t vocab,
                      double* gradient);

}  // namespace saffron
