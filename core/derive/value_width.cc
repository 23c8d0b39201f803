// value: elements of every head's value. New columns of the value matrix are free, the rows of the
// output matrix that read them, at the end of each head's, are zero. Gesmundo & Maile, definition
// 3.3.

#include "absl/strings/str_cat.h"
#include "core/base/status_macros.h"
#include "core/derive/expansion_table.h"

namespace saffron {
namespace {

absl::Status Grow(const DeriveOp& op, TransformerShape& shape) {
  ASSIGN_OR_RETURN(const std::vector<int> layers, LayersOf(op, shape));
  for (const int i : layers) {
    int& size = shape.layers[i].value_dim;
    ASSIGN_OR_RETURN(size, Grown(op, absl::StrCat("layers.", i, ".value_dim"), size));
  }
  return absl::OkStatus();
}

void Edit(const DeriveOp&, const TransformerShape& parent, const TransformerShape& child,
          TensorEdit& edit) {
  if (edit.layer < 0) return;
  const TransformerLayerShape& layer = parent.layers[edit.layer];
  const int grown = child.layers[edit.layer].value_dim;
  if (edit.part == "attn.wv" || edit.part == "attn.bv") {
    edit.map.cols = InsertInHeads(layer.kv_heads, layer.value_dim, grown);
  } else if (edit.part == "attn.wo") {
    edit.map.rows = InsertInHeads(layer.heads, layer.value_dim, grown);
    edit.map.fill = NewEntries::kZero;
  }
}

}  // namespace

const ExpansionRule kValueWidthRule = {.key = "model.value_dim", .grow = Grow, .edit = Edit};

}  // namespace saffron
