// layers: new layers, anywhere. What they write to the residual stream is zero, all else is free.
// Gesmundo & Maile, definition 3.6. A new layer has the sizes of the one below it (of the one above
// it, at the bottom).

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "core/base/status_macros.h"
#include "core/derive/expansion_table.h"

namespace saffron {
namespace {

// The child's first new layer.
size_t Position(const DeriveOp& op, size_t layers) {
  return op.layers.empty() ? layers : static_cast<size_t>(op.layers[0]);
}

absl::Status Grow(const DeriveOp& op, TransformerShape& shape) {
  const size_t layers = shape.layers.size();
  if (layers == 0) {
    return absl::InvalidArgumentError(
        absl::StrCat(op.Text(), ": the model has no layer whose sizes a new one could have"));
  }
  ASSIGN_OR_RETURN(const int count, Grown(op, "the number of layers", static_cast<int>(layers)));
  const size_t position = Position(op, layers);
  if (position > layers) {
    return absl::InvalidArgumentError(absl::StrCat(op.Text(), ": want a place from 0 to ", layers,
                                                   " for new layers, got ", position));
  }
  for (size_t i = position; i < layers; ++i) {
    const MoeShape& moe = shape.layers[i].moe;
    if (!moe.sparse() || moe.top < 2 || moe.second != SecondPolicy::kRandom) continue;
    return absl::InvalidArgumentError(absl::StrCat(
        op.Text(), " is not exact: layer ", i,
        " draws by its number which choices of experts it takes (model.second_policy random), and "
        "new layers below would change that; want new layers above it, or another policy"));
  }
  const TransformerLayerShape like = shape.layers[position > 0 ? position - 1 : 0];
  shape.layers.insert(shape.layers.begin() + static_cast<std::ptrdiff_t>(position),
                      static_cast<size_t>(count) - layers, like);
  return absl::OkStatus();
}

std::vector<int> LayerFrom(const DeriveOp& op, const TransformerShape& parent,
                           const TransformerShape& child) {
  const int position = static_cast<int>(Position(op, parent.layers.size()));
  const int added = static_cast<int>(child.layers.size() - parent.layers.size());
  std::vector<int> from;
  for (int i = 0; i < static_cast<int>(child.layers.size()); ++i) {
    from.push_back(i < position ? i : i < position + added ? -1 : i - added);
  }
  return from;
}

void Edit(const DeriveOp&, const TransformerShape&, const TransformerShape&, TensorEdit& edit) {
  if (WritesToStream(edit.part)) edit.map.fill = NewEntries::kZero;
}

}  // namespace

const ExpansionRule kLayerAdditionRule = {
    .key = "model.layers", .grow = Grow, .edit = Edit, .layer_from = LayerFrom};

}  // namespace saffron
