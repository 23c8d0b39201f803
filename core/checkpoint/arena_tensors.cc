#include "core/checkpoint/arena_tensors.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "core/base/check.h"
#include "core/base/status_macros.h"

namespace saffron {
namespace {

template <typename T>
TensorBytes Wrap(TensorType type, absl::Span<const T> values, std::vector<int64_t> shape) {
  return {type,
          std::move(shape),
          {reinterpret_cast<const char*>(values.data()), values.size() * sizeof(T)}};
}

std::vector<int64_t> ShapeOf(const ParameterTensor& tensor) {
  if (tensor.role == TensorRole::kVector && tensor.rows == 1) return {tensor.cols};
  return {tensor.rows, tensor.cols};
}

bool IsPlain(const ParameterTensor& tensor) { return tensor.block_cols() == tensor.cols; }

void CheckFits(const ParameterTensor& tensor, size_t array) {
  CHECK(tensor.begin >= 0 && tensor.begin + tensor.stored() <= static_cast<int64_t>(array))
      << "tensor " << tensor.name << " is not within its array";
}

std::string ShapeText(const std::vector<int64_t>& shape) {
  return absl::StrCat("[", absl::StrJoin(shape, ", "), "]");
}

absl::Status WantShape(const std::string& name, const TensorBytes& tensor, TensorType type,
                       const std::vector<int64_t>& shape) {
  if (tensor.type == type && tensor.shape == shape) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(
      "tensor ", name, ": want ", ShapeText(shape), " of ", std::string(TensorTypeName(type)),
      ", got ", ShapeText(tensor.shape), " of ", std::string(TensorTypeName(tensor.type))));
}

template <typename T>
absl::StatusOr<std::vector<T>> ReadVector(const Safetensors& file, const std::string& name,
                                          TensorType type) {
  ASSIGN_OR_RETURN(const TensorBytes tensor, file.Tensor(name));
  const int64_t size = static_cast<int64_t>(tensor.bytes.size() / sizeof(T));
  RETURN_IF_ERROR(WantShape(name, tensor, type, {size}));
  std::vector<T> values(static_cast<size_t>(size));
  if (size > 0) std::memcpy(values.data(), tensor.bytes.data(), tensor.bytes.size());
  return values;
}

}  // namespace

TensorBytes TensorOf(absl::Span<const float> values, std::vector<int64_t> shape) {
  return Wrap(TensorType::kF32, values, std::move(shape));
}
TensorBytes TensorOf(absl::Span<const double> values, std::vector<int64_t> shape) {
  return Wrap(TensorType::kF64, values, std::move(shape));
}
TensorBytes TensorOf(absl::Span<const int64_t> values, std::vector<int64_t> shape) {
  return Wrap(TensorType::kI64, values, std::move(shape));
}

void AddTensors(const std::string& prefix, const std::vector<ParameterTensor>& layout,
                absl::Span<const float> array, TensorList* list) {
  for (const ParameterTensor& tensor : layout) {
    CheckFits(tensor, array.size());
    absl::Span<const float> values = array.subspan(tensor.begin, tensor.size());
    if (!IsPlain(tensor)) {
      std::vector<float>& copy = list->copies.emplace_back();
      copy.reserve(static_cast<size_t>(tensor.size()));
      for (int64_t row = 0; row < tensor.rows; ++row) {
        for (int64_t col = 0; col < tensor.cols; col += tensor.block_cols()) {
          const float* from = array.data() + tensor.at(row, col);
          copy.insert(copy.end(), from, from + std::min(tensor.block_cols(), tensor.cols - col));
        }
      }
      values = copy;
    }
    list->tensors.push_back({prefix + tensor.name, TensorOf(values, ShapeOf(tensor))});
  }
}

absl::Status ReadTensors(const Safetensors& file, const std::string& prefix,
                         const std::vector<ParameterTensor>& layout, absl::Span<float> array) {
  for (const ParameterTensor& tensor : layout) {
    CheckFits(tensor, array.size());
    const std::string name = prefix + tensor.name;
    const absl::StatusOr<TensorBytes> found = file.Tensor(name);
    if (!found.ok()) return absl::InvalidArgumentError(found.status().message());
    RETURN_IF_ERROR(WantShape(name, *found, TensorType::kF32, ShapeOf(tensor)));
    const char* from = found->bytes.data();
    for (int64_t row = 0; row < tensor.rows; ++row) {
      for (int64_t col = 0; col < tensor.cols; col += tensor.block_cols()) {
        const size_t bytes = sizeof(float) * std::min(tensor.block_cols(), tensor.cols - col);
        std::memcpy(array.data() + tensor.at(row, col), from, bytes);
        from += bytes;
      }
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<std::vector<double>> ReadDoubles(const Safetensors& file, const std::string& name) {
  return ReadVector<double>(file, name, TensorType::kF64);
}
absl::StatusOr<std::vector<int64_t>> ReadIntegers(const Safetensors& file,
                                                  const std::string& name) {
  return ReadVector<int64_t>(file, name, TensorType::kI64);
}
absl::StatusOr<std::vector<float>> ReadFloats(const Safetensors& file, const std::string& name,
                                              const std::vector<int64_t>& shape) {
  ASSIGN_OR_RETURN(const TensorBytes tensor, file.Tensor(name));
  RETURN_IF_ERROR(WantShape(name, tensor, TensorType::kF32, shape));
  std::vector<float> values(tensor.bytes.size() / sizeof(float));
  if (!values.empty()) std::memcpy(values.data(), tensor.bytes.data(), tensor.bytes.size());
  return values;
}

}  // namespace saffron
