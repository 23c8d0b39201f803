#pragma once
// How the tensors of a grown model come from its parent's: rows and columns that are kept, a factor
// on what is kept, and what stands in the rest. The same map moves parameters and what an optimiser
// remembers of them.

#include <cstdint>
#include <string>
#include <vector>

#include "absl/types/span.h"
#include "core/math/parameter_arena.h"
#include "core/optim/optimizer.h"

namespace saffron {

enum class NewEntries : uint8_t {
  kZero,  // must be zero, or the model computes something else
  kFree,  // may be anything, and must not be zero throughout: as in a new model
};

struct TensorMap {
  ParameterTensor tensor;  // the child's
  std::string from;        // the parent's tensor; empty: there is none, all entries are new
  int64_t from_begin = 0, from_rows = 0, from_cols = 0;  // where that lies, row-major
  // The parent's row (column) for each of the child's; -1: new. Empty where `from` is.
  std::vector<int64_t> rows, cols;
  double scale = 1;  // of kept entries
  // Of the parent tensor's gradient that this one is expected to have, where it is one of several
  // that do its work.
  double gradient_share = 1;
  NewEntries fill = NewEntries::kFree;

  // Kept, not new, at (row, col).
  bool Keeps(int64_t row, int64_t col) const {
    return !from.empty() && rows[row] >= 0 && cols[col] >= 0;
  }
  // Tensor to tensor without any change.
  bool IsIdentity() const;
};

// The child's tensor [rows, cols] out of the parent's parameters (all of them), with new entries
// that are free taken from `fresh` [rows, cols].
std::vector<double> MapParameters(const TensorMap& map, absl::Span<const double> parent,
                                  absl::Span<const double> fresh);

// An optimiser's array of the parent's tensor, moved to the child's: by the chain rule a parameter
// that was multiplied by c has its gradient divided by c, and by gradient_share it has that part of
// it. New entries are zero. `state` is [rows, cols] of the parent's tensor; or, for means over rows
// or columns, [1, cols] or [rows, 1], which stay such means: of a matrix whose new entries are
// zero.
struct StateMatrix {
  int64_t rows = 0, cols = 0;
  std::vector<double> values = {};  // row-major
};
StateMatrix MapState(const TensorMap& map, StateKind kind, const StateMatrix& state);

}  // namespace saffron
