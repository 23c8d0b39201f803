#pragma once
// The element types of safetensors, by their names in the header.

#include <optional>
#include <string_view>

#include "core/checkpoint/safetensors.h"

namespace saffron {

std::optional<TensorType> TensorTypeFromName(std::string_view name);

// shape times the element's size, or nullopt when that overflows.
std::optional<int64_t> TensorSize(TensorType type, const std::vector<int64_t>& shape);

}  // namespace saffron
