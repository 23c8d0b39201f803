// mlp: hidden units of MLPs. What they read is free, what they write is zero: act(0 + ...) 0 = 0.
// Gesmundo & Maile, definition 3.1. Of a gated MLP both inputs are free; so are unit biases. A
// sparse layer's experts, and the dense MLP beside them, grow alike.

#include "absl/strings/str_cat.h"
#include "core/base/status_macros.h"
#include "core/derive/expansion_table.h"

namespace saffron {
namespace {

absl::Status Grow(const DeriveOp& op, TransformerShape& shape) {
  ASSIGN_OR_RETURN(const std::vector<int> layers, LayersOf(op, shape));
  for (const int i : layers) {
    int& width = shape.layers[i].mlp_width;
    ASSIGN_OR_RETURN(width, Grown(op, absl::StrCat("layers.", i, ".mlp_width"), width));
  }
  return absl::OkStatus();
}

void Edit(const DeriveOp&, const TransformerShape&, const TransformerShape&, TensorEdit& edit) {
  if (IsMlpOutput(edit.part)) edit.map.fill = NewEntries::kZero;
}

}  // namespace

const ExpansionRule kMlpWidthRule = {.key = "model.mlp_width", .grow = Grow, .edit = Edit};

}  // namespace saffron
