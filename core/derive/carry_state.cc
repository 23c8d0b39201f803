#include "core/derive/carry_state.h"

#include <map>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/base/status_macros.h"

namespace saffron {
namespace {

// The means of rows ([rows, 1]) or of columns ([1, cols]).
StateMatrix MeansOf(const StateMatrix& whole, bool of_rows) {
  StateMatrix means = of_rows ? StateMatrix{whole.rows, 1} : StateMatrix{1, whole.cols};
  means.values.assign(static_cast<size_t>(means.rows * means.cols), 0.0);
  const double share = 1.0 / static_cast<double>(of_rows ? whole.cols : whole.rows);
  for (int64_t i = 0; i < whole.rows; ++i) {
    for (int64_t j = 0; j < whole.cols; ++j) {
      means.values[of_rows ? i : j] += share * whole.values[i * whole.cols + j];
    }
  }
  return means;
}

template <typename T>
absl::Status Fill(const StateMatrix& from, StateArray<T>& to) {
  const ParameterTensor& view = to.tensor;
  if (from.rows != view.rows || from.cols != view.cols) {
    return absl::InvalidArgumentError(absl::StrCat("optimiser state ", view.name, "/", to.slot,
                                                   ": want [", view.rows, ", ", view.cols,
                                                   "], got [", from.rows, ", ", from.cols, "]"));
  }
  for (int64_t i = 0; i < from.rows; ++i) {
    for (int64_t j = 0; j < from.cols; ++j) {
      to.values[view.at(i, j)] = static_cast<T>(from.values[i * from.cols + j]);
    }
  }
  return absl::OkStatus();
}

}  // namespace

template <typename T>
absl::StatusOr<int64_t> CarryState(const std::vector<StoredState>& state, int64_t steps_done,
                                   Optimizer<T>& optimizer) {
  std::map<std::pair<std::string, std::string>, const StateMatrix*> stored;
  for (const StoredState& s : state) stored[{s.tensor, s.slot}] = &s.matrix;
  const auto find = [&](const std::string& tensor, const std::string& slot) {
    const auto found = stored.find({tensor, slot});
    return found == stored.end() ? nullptr : found->second;
  };
  int64_t carried = 0;
  for (StateArray<T>& array : optimizer.State()) {
    const std::string& tensor = array.tensor.name;
    const StateMatrix* from = find(tensor, array.slot);
    StateMatrix means;
    if (from == nullptr && (array.slot == "row" || array.slot == "column")) {
      const StateMatrix* whole = find(tensor, "v");
      if (whole == nullptr) continue;
      means = MeansOf(*whole, array.slot == "row");
      from = &means;
    }
    if (from == nullptr) continue;
    RETURN_IF_ERROR(Fill(*from, array));
    ++carried;
  }
  if (carried > 0) optimizer.RestoreSteps(steps_done);
  return carried;
}

template absl::StatusOr<int64_t> CarryState<float>(const std::vector<StoredState>&, int64_t,
                                                   Optimizer<float>&);
template absl::StatusOr<int64_t> CarryState<double>(const std::vector<StoredState>&, int64_t,
                                                    Optimizer<double>&);

}  // namespace saffron
