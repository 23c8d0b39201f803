// key: elements of every head's query and key. Queries are free, keys zero; scores are divided by
// the root of the size, which existing keys (and key biases) make up for. Gesmundo & Maile,
// definition 3.4. Existing rotary pairs keep their frequencies: computing all anew would turn them.

#include <cmath>

#include "absl/strings/str_cat.h"
#include "core/base/status_macros.h"
#include "core/derive/expansion_table.h"

namespace saffron {
namespace {

absl::Status Grow(const DeriveOp& op, TransformerShape& shape) {
  ASSIGN_OR_RETURN(const std::vector<int> layers, LayersOf(op, shape));
  for (const int i : layers) {
    TransformerLayerShape& layer = shape.layers[i];
    const std::string what = absl::StrCat("layers.", i, ".key_dim");
    ASSIGN_OR_RETURN(const int size, Grown(op, what, layer.key_dim));
    if (shape.positions == PositionKind::kRope) {
      if (size % 2 != 0) {
        return absl::InvalidArgumentError(
            absl::StrCat(op.Text(), ": ", what,
                         ": rotary positions turn pairs: want an even number, got ", size));
      }
      const std::vector<double> frequencies =
          FarthestFrom(layer.rope_frequencies, RopeFrequencies(size), (size - layer.key_dim) / 2);
      layer.rope_frequencies.insert(layer.rope_frequencies.end(), frequencies.begin(),
                                    frequencies.end());
    }
    layer.key_dim = size;
  }
  return absl::OkStatus();
}

void Edit(const DeriveOp&, const TransformerShape& parent, const TransformerShape& child,
          TensorEdit& edit) {
  if (edit.layer < 0) return;
  const TransformerLayerShape& layer = parent.layers[edit.layer];
  const int grown = child.layers[edit.layer].key_dim;
  if (edit.part == "attn.wq" || edit.part == "attn.bq") {
    edit.map.cols = InsertInHeads(layer.heads, layer.key_dim, grown);
  } else if (edit.part == "attn.wk" || edit.part == "attn.bk") {
    edit.map.cols = InsertInHeads(layer.kv_heads, layer.key_dim, grown);
    edit.map.scale = std::sqrt(static_cast<double>(grown) / layer.key_dim);
    edit.map.fill = NewEntries::kZero;
  }
}

}  // namespace

const ExpansionRule kKeyWidthRule = {.key = "model.head_dim", .grow = Grow, .edit = Edit};

}  // namespace saffron
