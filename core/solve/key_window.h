#pragma once
// Key vectors by position of a stream, for passes that read every position once.

#include <algorithm>
#include <cstdint>
#include <memory>
#include <vector>

#include "absl/types/span.h"
#include "core/math/matrix.h"
#include "core/model/feature_tables.h"
#include "core/model/saffu_params.h"

namespace saffron {

// X_k(t): non-zeros (index, value), or all of a dense row when index is null.
struct KeyVector {
  const int32_t* index = nullptr;
  const float* value = nullptr;
  int size = 0;
};

// Where the o stream comes from: the layer below, evaluated on demand.
class LowerOutputs {
 public:
  virtual ~LowerOutputs() = default;
  virtual int width() const = 0;
  // Row i = O(first + i), the prediction made for position first + i from the tokens before it.
  virtual Matrix<float> Outputs(int64_t first, int64_t last) const = 0;
};

// Whether a key's vector depends on one token alone (x and c).
inline bool IsTokenKey(const KeySpec& key) {
  return key.stream == Stream::kCipher || key.stream == Stream::kContext;
}

// Whether the token that the query keys[0] reads fixes the vector of key k too.
inline bool FixedByQuery(const std::vector<KeySpec>& keys, int k) {
  return IsTokenKey(keys[k]) && keys[k].lag == keys[0].lag;
}

// The row of a token key's table for `token`.
KeyVector TokenKeyVector(const FeatureTables& features, const KeySpec& key, int32_t token);

// The token that a token key of target t reads.
inline int32_t TokenOfKey(absl::Span<const int32_t> stream, int32_t padding, const KeySpec& key,
                          int64_t t) {
  return t >= key.lag ? stream[t - key.lag] : padding;
}

// Everything referred to must outlive the window. Not thread-safe.
class KeyWindow {
 public:
  // `below` may be null when no key is an o key.
  KeyWindow(const FeatureTables& features, const std::vector<KeySpec>& keys,
            absl::Span<const int32_t> stream, const LowerOutputs* below);

  // Makes targets first <= t < last readable by At. r and o rows are computed here.
  void Load(int64_t first, int64_t last);
  // X_k(t) of a loaded target; valid until the next Load. Sparse vectors are all of one size, short
  // ones padded with zeros, so that loops over them are predictable.
  KeyVector At(int k, int64_t t) const {
    const KeySpec& key = keys_[k];
    switch (key.stream) {
      case Stream::kCipher: {
        const int64_t w = TokenOfKey(stream_, features_.padding, key, t);
        if (code_width_ == 0) return TokenKeyVector(features_, key, static_cast<int32_t>(w));
        return {.index = code_index_.data() + w * code_width_,
                .value = code_value_.data() + w * code_width_,
                .size = code_width_};
      }
      case Stream::kContext:
        return {
            .value = features_.context.row(TokenOfKey(stream_, features_.padding, key, t)).data(),
            .size = key.dim};
      case Stream::kBag:
        return {.value = bags_.row(t - bag_first_).data(), .size = key.dim};
      case Stream::kLower:
        break;
    }
    const int64_t position = std::max<int64_t>(0, t - key.lag + 1);
    return {.value = lower_.row(position - lower_first_).data(), .size = key.dim};
  }

  const std::vector<KeySpec>& keys() const { return keys_; }
  absl::Span<const int32_t> stream() const { return stream_; }
  const FeatureTables& features() const { return features_; }

 private:
  void PadCodes();
  void LoadBags(int64_t first, int64_t last);

  const FeatureTables& features_;
  const std::vector<KeySpec>& keys_;
  const absl::Span<const int32_t> stream_;
  const LowerOutputs* const below_;
  int lower_lag_max_ = 0;  // 0: no o keys
  bool has_bag_ = false;
  int code_width_ = 0;               // entries of a padded cipher row; 0 where rows are full
  std::vector<int32_t> code_index_;  // [V, code_width_]
  std::vector<float> code_value_;    // [V, code_width_]
  int64_t bag_first_ = 0, lower_first_ = 0;
  std::vector<double> bag_sum_;  // [b]
  Matrix<float> bags_;           // [targets, b]
  Matrix<float> lower_;          // [targets + lags - 1, width]
};

}  // namespace saffron
