#pragma once
// The feature vectors of one key over a batch of positions, as a table of distinct rows and each
// position's row in it: what depends on the token alone is computed once a token.

#include <cstdint>

#include "absl/types/span.h"
#include "core/math/aligned_array.h"
#include "core/model/feature_tables.h"
#include "core/model/saffu_params.h"

namespace saffron {

// Row strides are whole numbers of register pairs, so that kernels need no tails: 16 numbers.
inline int PaddedDim(int dim) { return (dim + 15) / 16 * 16; }

// Rows are sparse (entries of FeatureTables::cipher, for x) or dense [rows, stride], the padding
// zero. Everything is sized by the constructor.
template <typename T>
class KeyRows {
 public:
  // `features` must outlive this. At most `positions_max` positions are loaded at a time. `train`:
  // the transposed rows, which gradients need, are kept too.
  KeyRows(const KeySpec& spec, const FeatureTables& features, int positions_max, bool train);

  // Rows of x, c or r keys for targets at `positions`; those before the stream's start find
  // padding.
  void Load(absl::Span<const int32_t> stream, absl::Span<const int64_t> positions);
  // Rows of an o key: row m is outputs[slot[m]] (row stride `stride` of outputs).
  void LoadLower(const T* outputs, int64_t stride, absl::Span<const int32_t> slots);

  const KeySpec& spec() const { return spec_; }
  int dim() const { return spec_.dim; }
  int stride() const { return PaddedDim(spec_.dim); }
  bool sparse() const { return sparse_; }
  bool lower() const { return spec_.stream == Stream::kLower; }
  int rows() const { return rows_; }
  int row_of(int64_t m) const { return row_of_[m]; }

  const T* dense_row(int row) const { return dense_.data() + int64_t{row} * stride(); }
  const T* dense() const { return dense_.data(); }
  // The same, [dim, rows].
  const T* dense_transposed() const { return transposed_.data(); }

  // Calls f(index, value) for the non-zeros of a sparse row, by ascending index.
  template <typename F>
  void ForEachNonZero(int row, F f) const {
    const int32_t id = ids_[row];
    for (int32_t i = cipher_->begin[id]; i < cipher_->begin[id + 1]; ++i) {
      f(cipher_->index[i], static_cast<T>(cipher_->value[i]));
    }
  }
  // The most non-zeros that a sparse row has.
  int nonzeros_max() const { return nonzeros_max_; }

 private:
  void LoadTokens(absl::Span<const int32_t> stream, absl::Span<const int64_t> positions);
  void LoadBags(absl::Span<const int32_t> stream, absl::Span<const int64_t> positions);
  void FillDense();
  void Transpose();

  KeySpec spec_;
  const FeatureTables* features_;
  const SparseRows* cipher_;
  bool sparse_ = false;
  int nonzeros_max_ = 0;
  int rows_ = 0;
  AlignedArray<int32_t> row_of_;         // [positions_max]
  AlignedArray<int32_t> ids_;            // [positions_max] token of each row; unused by r and o
  AlignedArray<int32_t> slot_of_token_;  // [V], -1 between loads
  AlignedArray<T> dense_;                // [positions_max, stride]; empty when sparse
  AlignedArray<T> transposed_;           // [dim, positions_max]; empty when sparse or not training
};

}  // namespace saffron
