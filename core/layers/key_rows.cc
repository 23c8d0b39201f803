#include "core/layers/key_rows.h"

#include <algorithm>

#include "core/base/check.h"

namespace saffron {
namespace {

// Gathering a sparse row costs a few register operations a non-zero in each direction; a dense row
// goes through a matrix product at a fraction of one a component. Below one non-zero in eight
// components gathering wins.
bool WorthGathering(const SparseRows& rows) {
  return int64_t{8} * static_cast<int64_t>(rows.index.size()) <= int64_t{rows.rows()} * rows.dim;
}

int32_t TokenAt(absl::Span<const int32_t> stream, int64_t position, int32_t padding) {
  return position < 0 ? padding : stream[static_cast<size_t>(position)];
}

}  // namespace

template <typename T>
KeyRows<T>::KeyRows(const KeySpec& spec, const FeatureTables& features, int positions_max,
                    bool train)
    : spec_(spec), features_(&features), cipher_(&features.cipher), row_of_(positions_max) {
  const bool by_token = spec.stream == Stream::kCipher || spec.stream == Stream::kContext;
  sparse_ = spec.stream == Stream::kCipher && WorthGathering(*cipher_);
  if (by_token) {
    ids_ = AlignedArray<int32_t>(positions_max);
    slot_of_token_ = AlignedArray<int32_t>(cipher_->rows());
    std::ranges::fill(slot_of_token_.span(), -1);
  }
  if (sparse_) {
    for (int w = 0; w < cipher_->rows(); ++w) {
      nonzeros_max_ = std::max(nonzeros_max_, cipher_->begin[w + 1] - cipher_->begin[w]);
    }
  } else {
    dense_ = AlignedArray<T>(int64_t{positions_max} * stride());
    if (train) transposed_ = AlignedArray<T>(int64_t{positions_max} * dim());
  }
}

template <typename T>
void KeyRows<T>::Load(absl::Span<const int32_t> stream, absl::Span<const int64_t> positions) {
  CHECK(static_cast<int64_t>(positions.size()) <= row_of_.size()) << "batch too large";
  switch (spec_.stream) {
    case Stream::kCipher:
    case Stream::kContext:
      LoadTokens(stream, positions);
      break;
    case Stream::kBag:
      LoadBags(stream, positions);
      break;
    case Stream::kLower:
      CHECK(false) << "an o key loads from the layer below";
  }
  Transpose();
}

template <typename T>
void KeyRows<T>::LoadTokens(absl::Span<const int32_t> stream, absl::Span<const int64_t> positions) {
  rows_ = 0;
  for (size_t m = 0; m < positions.size(); ++m) {
    const int32_t id = TokenAt(stream, positions[m] - spec_.lag, features_->padding);
    if (slot_of_token_[id] < 0) {
      slot_of_token_[id] = rows_;
      ids_[rows_++] = id;
    }
    row_of_[static_cast<int64_t>(m)] = slot_of_token_[id];
  }
  for (int row = 0; row < rows_; ++row) slot_of_token_[ids_[row]] = -1;
  if (!sparse_) FillDense();
}

template <typename T>
void KeyRows<T>::FillDense() {
  for (int row = 0; row < rows_; ++row) {
    T* out = dense_.data() + int64_t{row} * stride();
    if (spec_.stream == Stream::kContext) {
      const float* in = features_->context.row(ids_[row]).data();
      std::copy(in, in + dim(), out);
    } else {
      std::fill(out, out + dim(), T{0});
      ForEachNonZero(row, [out](int32_t index, T value) { out[index] = value; });
    }
  }
}

template <typename T>
void KeyRows<T>::LoadBags(absl::Span<const int32_t> stream, absl::Span<const int64_t> positions) {
  const T share = T{1} / static_cast<T>(features_->radius);
  rows_ = static_cast<int>(positions.size());
  for (int row = 0; row < rows_; ++row) {
    row_of_[row] = row;
    T* out = dense_.data() + int64_t{row} * stride();
    std::fill(out, out + dim(), T{0});
    for (int lag = 1; lag <= features_->radius; ++lag) {
      const int32_t id =
          TokenAt(stream, positions[static_cast<size_t>(row)] - lag, features_->padding);
      for (int32_t i = cipher_->begin[id]; i < cipher_->begin[id + 1]; ++i) {
        out[cipher_->index[i]] += static_cast<T>(cipher_->value[i]);
      }
    }
    for (int j = 0; j < dim(); ++j) out[j] *= share;
  }
}

template <typename T>
void KeyRows<T>::LoadLower(const T* outputs, int64_t stride, absl::Span<const int32_t> slots) {
  CHECK(lower() && static_cast<int64_t>(slots.size()) <= row_of_.size());
  rows_ = static_cast<int>(slots.size());
  for (int row = 0; row < rows_; ++row) {
    row_of_[row] = row;
    const T* in = outputs + slots[static_cast<size_t>(row)] * stride;
    std::copy(in, in + dim(), dense_.data() + int64_t{row} * this->stride());
  }
  Transpose();
}

template <typename T>
void KeyRows<T>::Transpose() {
  if (!transposed_.ok()) return;
  for (int row = 0; row < rows_; ++row) {
    const T* in = dense_row(row);
    for (int j = 0; j < dim(); ++j) transposed_[int64_t{j} * rows_ + row] = in[j];
  }
}

template class KeyRows<float>;
template class KeyRows<double>;

}  // namespace saffron
