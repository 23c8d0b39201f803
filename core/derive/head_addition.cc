// heads: more attention heads. What they attend to and read is free, their rows of the output
// matrix are zero. Gesmundo & Maile, definition 3.2. With grouped keys and values whole groups are
// added. Existing heads keep their ALiBi slopes.

#include "absl/strings/str_cat.h"
#include "core/base/status_macros.h"
#include "core/derive/expansion_table.h"

namespace saffron {
namespace {

absl::Status Grow(const DeriveOp& op, TransformerShape& shape) {
  ASSIGN_OR_RETURN(const std::vector<int> layers, LayersOf(op, shape));
  for (const int i : layers) {
    TransformerLayerShape& layer = shape.layers[i];
    const std::string what = absl::StrCat("layers.", i, ".heads");
    ASSIGN_OR_RETURN(const int heads, Grown(op, what, layer.heads));
    const int group = layer.heads / layer.kv_heads;
    if (heads % group != 0) {
      return absl::InvalidArgumentError(
          absl::StrCat(op.Text(), ": ", what, ": ", group,
                       " heads share each key and value: want a multiple of that, got ", heads));
    }
    if (shape.positions == PositionKind::kAlibi) {
      const std::vector<double> slopes =
          FarthestFrom(layer.alibi_slopes, AlibiSlopes(heads), heads - layer.heads);
      layer.alibi_slopes.insert(layer.alibi_slopes.end(), slopes.begin(), slopes.end());
    }
    layer.heads = heads;
    layer.kv_heads = heads / group;
  }
  return absl::OkStatus();
}

void Edit(const DeriveOp&, const TransformerShape&, const TransformerShape&, TensorEdit& edit) {
  if (edit.part == "attn.wo") edit.map.fill = NewEntries::kZero;
}

}  // namespace

const ExpansionRule kHeadAdditionRule = {.key = "model.heads", .grow = Grow, .edit = Edit};

}  // namespace saffron
