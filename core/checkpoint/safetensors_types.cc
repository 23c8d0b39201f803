#include "core/checkpoint/safetensors_types.h"

namespace saffron {
namespace {

struct TypeRow {
  std::string_view name;
  int64_t bytes;
};
// In the order of TensorType.
constexpr TypeRow kTypes[] = {
    {"BOOL", 1}, {"U8", 1},  {"I8", 1},  {"F8_E5M2", 1}, {"F8_E4M3", 1},
    {"I16", 2},  {"U16", 2}, {"F16", 2}, {"BF16", 2},    {"I32", 4},
    {"U32", 4},  {"F32", 4}, {"F64", 8}, {"I64", 8},     {"U64", 8},
};
static_assert(std::size(kTypes) == static_cast<size_t>(TensorType::kU64) + 1);

}  // namespace

std::string_view TensorTypeName(TensorType type) { return kTypes[static_cast<int>(type)].name; }

int64_t TensorTypeBytes(TensorType type) { return kTypes[static_cast<int>(type)].bytes; }

std::optional<TensorType> TensorTypeFromName(std::string_view name) {
  for (size_t i = 0; i < std::size(kTypes); ++i) {
    if (kTypes[i].name == name) return static_cast<TensorType>(i);
  }
  return std::nullopt;
}

std::optional<int64_t> TensorSize(TensorType type, const std::vector<int64_t>& shape) {
  int64_t size = TensorTypeBytes(type);
  for (const int64_t dim : shape) {
    if (dim < 0 || __builtin_mul_overflow(size, dim, &size)) return std::nullopt;
  }
  return size;
}

}  // namespace saffron
