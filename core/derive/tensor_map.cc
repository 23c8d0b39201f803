#include "core/derive/tensor_map.h"

#include <algorithm>
#include <cmath>

#include "core/base/check.h"

namespace saffron {
namespace {

bool IsWhole(const std::vector<int64_t>& from, int64_t size) {
  if (static_cast<int64_t>(from.size()) != size) return false;
  for (int64_t i = 0; i < size; ++i) {
    if (from[i] != i) return false;
  }
  return true;
}

double KeptShare(const std::vector<int64_t>& from) {
  const auto kept = std::count_if(from.begin(), from.end(), [](int64_t i) { return i >= 0; });
  return static_cast<double>(kept) / static_cast<double>(from.size());
}

// Of an optimiser's numbers.
double StateScale(StateKind kind, const TensorMap& map) {
  const double of_gradient = map.gradient_share / map.scale;
  switch (kind) {
    case StateKind::kFirst:
      return of_gradient;
    case StateKind::kSecond:
      return of_gradient * of_gradient;
    case StateKind::kUpdate:
      return map.scale;
  }
  CHECK(false) << "kind " << static_cast<int>(kind);
  return 1;
}

}  // namespace

bool TensorMap::IsIdentity() const {
  return !from.empty() && scale == 1 && from_cols == tensor.cols && IsWhole(rows, tensor.rows) &&
         IsWhole(cols, tensor.cols);
}

std::vector<double> MapParameters(const TensorMap& map, absl::Span<const double> parent,
                                  absl::Span<const double> fresh) {
  const int64_t m = map.tensor.rows, n = map.tensor.cols;
  CHECK(static_cast<int64_t>(fresh.size()) == m * n) << map.tensor.name << " " << fresh.size();
  std::vector<double> child(static_cast<size_t>(m * n));
  for (int64_t i = 0; i < m; ++i) {
    for (int64_t j = 0; j < n; ++j) {
      const int64_t at = i * n + j;
      if (map.Keeps(i, j)) {
        child[at] = map.scale * parent[map.from_begin + map.rows[i] * map.from_cols + map.cols[j]];
      } else if (map.fill == NewEntries::kFree) {
        child[at] = fresh[at];
      }
    }
  }
  return child;
}

StateMatrix MapState(const TensorMap& map, StateKind kind, const StateMatrix& state) {
  CHECK(!map.from.empty()) << map.tensor.name << " has no parent";
  CHECK(static_cast<int64_t>(state.values.size()) == state.rows * state.cols) << map.tensor.name;
  static const auto* const one = new std::vector<int64_t>{0};
  // A mean over columns (rows) is one column (row), and new zeros dilute it.
  const bool over_columns = state.cols == 1 && map.from_cols > 1;
  const bool over_rows = state.rows == 1 && map.from_rows > 1;
  const std::vector<int64_t>& row_from = over_rows ? *one : map.rows;
  const std::vector<int64_t>& col_from = over_columns ? *one : map.cols;
  double scale = StateScale(kind, map);
  if (over_columns) scale *= KeptShare(map.cols);
  if (over_rows) scale *= KeptShare(map.rows);
  StateMatrix child = {static_cast<int64_t>(row_from.size()),
                       static_cast<int64_t>(col_from.size())};
  child.values.assign(static_cast<size_t>(child.rows * child.cols), 0.0);
  for (int64_t i = 0; i < child.rows; ++i) {
    for (int64_t j = 0; j < child.cols; ++j) {
      if (row_from[i] < 0 || col_from[j] < 0) continue;
      child.values[i * child.cols + j] =
          scale * state.values[row_from[i] * state.cols + col_from[j]];
    }
  }
  return child;
}

}  // namespace saffron
