#pragma once
// A solved layer as the source of the o stream of the layer above it.

#include <memory>
#include <vector>

#include "absl/types/span.h"
#include "core/model/feature_tables.h"
#include "core/model/saffu_params.h"
#include "core/solve/attention.h"
#include "core/solve/key_window.h"

namespace saffron {

// O(t) = softmax(sum_k g A_k X_k U_k + bias): positive rows of L1 norm 1. Everything referred to
// must outlive it, `params` for its shape alone. Thread-safe.
class LowerLayer : public LowerOutputs {
 public:
  // `below` is null for the bottom layer.
  LowerLayer(const FeatureTables& features, const SaffuLayerParams<float>& params,
             absl::Span<const int32_t> stream, const LowerOutputs* below);
  int width() const override { return shape_.outputs; }
  Matrix<float> Outputs(int64_t first, int64_t last) const override;

 private:
  const FeatureTables& features_;
  const SaffuLayerShape& shape_;
  const absl::Span<const int32_t> stream_;
  const LowerOutputs* const below_;
  const AttentionGains gains_;
  const int64_t padded_;     // columns that products are taken over
  std::vector<float> bias_;  // [padded]
  // Of token keys [V, padded]: X_k U_k; of the others [dim_k, padded]: U_k.
  std::vector<Matrix<float>> tables_;  // [NK]
};

}  // namespace saffron
