#pragma once
// A transformer's shape as JSON, for files that hold a model: a model that grew has sizes, epsilons
// and frequencies that no variant's keys describe.

#include <string>

#include "absl/status/statusor.h"
#include "core/transformer/transformer_shape.h"

namespace saffron {

// Numbers to the last bit.
std::string ShapeJson(const TransformerShape& shape);

// Reads it back and checks it (CheckShape). For text from anywhere: INVALID_ARGUMENT names the
// field that is missing or cannot be, what is wanted and what is there.
absl::StatusOr<TransformerShape> ParseShapeJson(const std::string& text);

}  // namespace saffron
