#pragma once
// Whether layers and feature tables fit each other.

#include <vector>

#include "absl/status/status.h"
#include "core/model/feature_tables.h"
#include "core/model/saffu_params.h"

namespace saffron {

// INVALID_ARGUMENT naming layer, key, what was expected and what was given: keys present, of the
// features' width, o keys in every layer but the bottom one and as wide as the output below, equal
// widths under a sum head, one output a type at the top, parameters of the shape's sizes, gain > 0.
template <typename T>
absl::Status CheckSaffuLayers(const std::vector<SaffuLayerParams<T>>& layers,
                              const FeatureTables& features);

}  // namespace saffron
