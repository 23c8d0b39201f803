#include "core/derive/derive.h"

#include <algorithm>
#include <map>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/base/check.h"
#include "core/base/random.h"
#include "core/base/status_macros.h"

namespace saffron {
namespace {

absl::Status CheckModel(const GrowableModel& model) {
  RETURN_IF_ERROR(CheckShape(model.shape));
  const TransformerLayout layout = LayOut(model.shape);
  if (static_cast<int64_t>(model.parameters.size()) != layout.size) {
    return absl::InvalidArgumentError(
        absl::StrCat("parameters: want ", layout.size, " of them, got ", model.parameters.size()));
  }
  std::map<std::string, const ParameterTensor*> tensors;
  for (const ParameterTensor& tensor : layout.tensors) tensors[tensor.name] = &tensor;
  for (const StoredState& state : model.state) {
    const std::string name = absl::StrCat("optimiser state ", state.tensor, "/", state.slot);
    const auto tensor = tensors.find(state.tensor);
    if (tensor == tensors.end()) {
      return absl::InvalidArgumentError(absl::StrCat(name, ": the model has no such tensor"));
    }
    const int64_t rows = tensor->second->rows, cols = tensor->second->cols;
    const StateMatrix& m = state.matrix;
    const bool fits = (m.rows == rows || m.rows == 1) && (m.cols == cols || m.cols == 1) &&
                      static_cast<int64_t>(m.values.size()) == m.rows * m.cols;
    if (fits) continue;
    return absl::InvalidArgumentError(absl::StrCat(name, ": want [", rows, ", ", cols,
                                                   "] or its means, got [", m.rows, ", ", m.cols,
                                                   "] of ", m.values.size()));
  }
  return absl::OkStatus();
}

// The name without "layers.I.".
std::string PartOf(const std::string& name) {
  if (name.rfind("layers.", 0) != 0) return name;
  return name.substr(name.find('.', 7) + 1);
}

// A new layer's tensors have the state of their like in another layer, with zeros in it: a new
// layer has the sizes of one that was there.
std::vector<StoredState> StateOfNew(const TensorMap& map, const std::vector<StoredState>& parent) {
  std::vector<StoredState> result;
  const std::string part = PartOf(map.tensor.name);
  std::string like;
  for (const StoredState& state : parent) {
    if (PartOf(state.tensor) != part || (!like.empty() && state.tensor != like)) continue;
    like = state.tensor;
    StoredState zeros = {map.tensor.name, state.slot, state.kind, state.matrix};
    if (zeros.matrix.rows > 1) zeros.matrix.rows = map.tensor.rows;
    if (zeros.matrix.cols > 1) zeros.matrix.cols = map.tensor.cols;
    zeros.matrix.values.assign(static_cast<size_t>(zeros.matrix.rows * zeros.matrix.cols), 0.0);
    result.push_back(std::move(zeros));
  }
  return result;
}

std::vector<StoredState> GrowState(const ModelExpansion& expansion,
                                   const std::vector<StoredState>& parent) {
  std::vector<StoredState> child;
  for (const TensorMap& map : expansion.maps) {
    if (map.from.empty()) {
      for (StoredState& state : StateOfNew(map, parent)) child.push_back(std::move(state));
      continue;
    }
    for (const StoredState& state : parent) {
      if (state.tensor != map.from) continue;
      child.push_back(
          {map.tensor.name, state.slot, state.kind, MapState(map, state.kind, state.matrix)});
    }
  }
  return child;
}

}  // namespace

absl::StatusOr<GrowableModel> Derive(GrowableModel model, const std::vector<DeriveOp>& ops,
                                     const FreshModel& fresh, uint64_t seed) {
  RETURN_IF_ERROR(CheckModel(model));
  constexpr uint32_t kSeedStream = 0x6772'6F77;
  const CounterRandom seeds(seed, RandomPurpose::kWeights, kSeedStream);
  for (size_t number = 0; number < ops.size(); ++number) {
    ASSIGN_OR_RETURN(ModelExpansion expansion, ExpandModel(model.shape, ops[number]));
    const int64_t size = LayOut(expansion.shape).size;
    const std::vector<double> drawn = fresh(expansion.shape, seeds.Bits(number));
    CHECK(static_cast<int64_t>(drawn.size()) == size) << drawn.size() << " of " << size;
    std::vector<double> parameters;
    parameters.reserve(static_cast<size_t>(size));
    for (const TensorMap& map : expansion.maps) {
      const auto begin = static_cast<size_t>(map.tensor.begin);
      CHECK(begin == parameters.size()) << map.tensor.name << " begins at " << begin;
      const std::vector<double> tensor = MapParameters(
          map, model.parameters,
          absl::MakeConstSpan(drawn).subspan(begin, static_cast<size_t>(map.tensor.size())));
      parameters.insert(parameters.end(), tensor.begin(), tensor.end());
    }
    model.state = GrowState(expansion, model.state);
    model.parameters = std::move(parameters);
    model.shape = std::move(expansion.shape);
  }
  return model;
}

}  // namespace saffron
