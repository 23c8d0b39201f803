#pragma once
// A model's arrays as tensors of a file: logical [rows, cols], whatever their order in memory.

#include <deque>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "core/checkpoint/safetensors.h"
#include "core/math/parameter_arena.h"

namespace saffron {

// Numbers as a tensor; `values` must outlive it.
TensorBytes TensorOf(absl::Span<const float> values, std::vector<int64_t> shape);
TensorBytes TensorOf(absl::Span<const double> values, std::vector<int64_t> shape);
TensorBytes TensorOf(absl::Span<const int64_t> values, std::vector<int64_t> shape);

// What WriteSafetensors is given, with the copies that had to be made.
struct TensorList {
  std::vector<NamedTensor> tensors;
  std::deque<std::vector<float>> copies;
};

// Adds the tensors found in `array`, which is laid out like the arena's parameters (parameters, a
// moment, a copy of either) and must outlive the list, as PREFIX + name. Matrices have two
// dimensions, vectors (kVector of one row) one.
void AddTensors(const std::string& prefix, const std::vector<ParameterTensor>& layout,
                absl::Span<const float> array, TensorList* list);

// Reads them back; padding in `array` is left alone. INVALID_ARGUMENT naming the tensor that is
// missing, or has another type or shape than the layout (both are named).
absl::Status ReadTensors(const Safetensors& file, const std::string& prefix,
                         const std::vector<ParameterTensor>& layout, absl::Span<float> array);

// The numbers of one tensor. INVALID_ARGUMENT when it is missing, of another type, or not of
// `shape`.
absl::StatusOr<std::vector<double>> ReadDoubles(const Safetensors& file, const std::string& name);
absl::StatusOr<std::vector<int64_t>> ReadIntegers(const Safetensors& file, const std::string& name);
absl::StatusOr<std::vector<float>> ReadFloats(const Safetensors& file, const std::string& name,
                                              const std::vector<int64_t>& shape);

}  // namespace saffron
