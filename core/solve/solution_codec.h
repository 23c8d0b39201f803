#pragma once
// Solved layers as bytes, for the statistics cache.

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "core/solve/saffu_solve.h"

namespace saffron {

// Names a solution by all that it depends on: spec, stream, its length, and the numerics version.
std::string SolutionKey(const SaffuSolveSpec& spec, const TextDataset& data);

std::vector<char> EncodeLayers(const std::vector<SaffuLayerSolution>& layers);
// Layers of the given shapes. DATA_LOSS when the bytes do not hold them.
absl::StatusOr<std::vector<SaffuLayerSolution>> DecodeLayers(
    absl::Span<const char> bytes, const std::vector<SaffuLayerShape>& shapes);

}  // namespace saffron
