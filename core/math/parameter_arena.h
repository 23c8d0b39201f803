#pragma once
// Parameters and gradients of a model in one allocation. State of optimisers is their own.

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/types/span.h"
#include "core/base/check.h"
#include "core/math/aligned_array.h"

namespace saffron {

// A stretch of parameters and what the last backward pass says about it.
template <typename T>
struct ParameterSegment {
  int64_t begin = 0, size = 0;  // in parameters()
  T* gradient = nullptr;        // [size]; null: zero everywhere
  bool decay = false;           // weight decay applies (matrices; not biases and scores)
  bool idle = false;  // never had a gradient: its optimiser's state is zero, decay alone changes it
};

// What a tensor is to its model: optimisers treat these differently, and freezing goes by them.
enum class TensorRole : uint8_t {
  kHidden,     // a matrix between two hidden layers
  kEmbedding,  // rows belong to tokens or positions
  kReadout,    // columns belong to classes
  kVector,     // biases, gains, scores
};

// A tensor of the model by the name that checkpoints know it under ("layers.0.mlp.w1"), row-major
// at parameters()[begin] unless it says otherwise.
struct ParameterTensor {
  std::string name;
  int64_t begin = 0;
  int64_t rows = 1, cols = 0;
  TensorRole role = TensorRole::kVector;
  // Columns stand in blocks of so many, each block row-major and the last one filled up with zeros.
  // 0: one block of `cols`, which is plain row-major; with more than `cols`, rows are padded.
  int64_t block = 0;

  int64_t size() const { return rows * cols; }
  int64_t block_cols() const { return block > 0 ? block : cols; }
  // Elements it takes in the arena, padding included.
  int64_t stored() const {
    return cols == 0 ? 0 : (cols + block_cols() - 1) / block_cols() * block_cols() * rows;
  }
  // Where element (row, col) stands.
  int64_t at(int64_t row, int64_t col) const {
    const int64_t b = block_cols();
    return begin + (col / b * rows + row) * b + col % b;
  }
};

// Not thread-safe. Moved, never copied.
template <typename T>
class ParameterArena {
 public:
  struct Sizes {
    int64_t parameters = 0;
    int64_t gradients = 0;  // as `parameters`, or fewer where rows of zeros are not stored
  };

  ParameterArena() = default;
  // All zero. RESOURCE_EXHAUSTED when there is no memory.
  static absl::StatusOr<ParameterArena> Create(const Sizes& sizes) {
    ParameterArena arena;
    arena.sizes_ = sizes;
    arena.stride_ = (sizes.parameters + 63) / 64 * 64;  // arrays start on cache lines
    const int64_t total = arena.stride_ + sizes.gradients;
    arena.data_ = AlignedArray<T>(total);
    if (!arena.data_.ok()) {
      return absl::ResourceExhaustedError(
          absl::StrCat("no memory for ", total * sizeof(T), " bytes of parameters and gradients"));
    }
    return arena;
  }

  absl::Span<T> parameters() { return {data_.data(), Size(sizes_.parameters)}; }
  absl::Span<const T> parameters() const { return {data_.data(), Size(sizes_.parameters)}; }
  absl::Span<T> gradients() { return {data_.data() + stride_, Size(sizes_.gradients)}; }

  // All parameters, by ascending begin; a model sets them in its backward pass (a dense one once).
  std::vector<ParameterSegment<T>>& segments() { return segments_; }
  const std::vector<ParameterSegment<T>>& segments() const { return segments_; }

  // The model's tensors by ascending begin; together they are all parameters, but for padding that
  // stays zero. Set when the model lays out its arena, the same in every run of a variant.
  std::vector<ParameterTensor>& tensors() { return tensors_; }
  const std::vector<ParameterTensor>& tensors() const { return tensors_; }

 private:
  static size_t Size(int64_t n) { return static_cast<size_t>(n); }
  Sizes sizes_;
  int64_t stride_ = 0;
  AlignedArray<T> data_;  // parameters, gradients
  std::vector<ParameterSegment<T>> segments_;
  std::vector<ParameterTensor> tensors_;
};

}  // namespace saffron
