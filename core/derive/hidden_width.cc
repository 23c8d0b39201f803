// hidden: width of the residual stream, in all layers together. Whatever writes to new elements is
// zero, so that they are; whatever reads them is free. The mean square of a wider row with the same
// numbers in it is smaller by h / h', which gains make up for, and which epsilon must follow.
// Gesmundo & Maile, definition 3.5, whose proof takes epsilon 0.

#include <cmath>

#include "absl/strings/str_cat.h"
#include "core/base/status_macros.h"
#include "core/derive/expansion_table.h"

namespace saffron {
namespace {

absl::Status Grow(const DeriveOp& op, TransformerShape& shape) {
  if (shape.norm == NormKind::kLayer) {
    return absl::InvalidArgumentError(absl::StrCat(
        op.Text(),
        ": not exact under LayerNorm: new zeros would shift the mean that it subtracts "
        "and the variance it divides by; want a model with RMSNorm"));
  }
  ASSIGN_OR_RETURN(const int width, Grown(op, "the hidden width", shape.width));
  const double ratio = static_cast<double>(shape.width) / width;
  for (TransformerLayerShape& layer : shape.layers) {
    layer.norm1_epsilon *= ratio;
    layer.norm2_epsilon *= ratio;
  }
  shape.final_epsilon *= ratio;
  shape.width = width;
  return absl::OkStatus();
}

void Edit(const DeriveOp&, const TransformerShape& parent, const TransformerShape& child,
          TensorEdit& edit) {
  if (WritesToStream(edit.part) || edit.part == "tok_embed" || edit.part == "pos_embed") {
    edit.map.fill = NewEntries::kZero;
  }
  if (edit.part.size() > 5 && edit.part.substr(edit.part.size() - 5) == ".gain") {
    edit.map.scale = std::sqrt(static_cast<double>(parent.width) / child.width);
  }
}

}  // namespace

const ExpansionRule kHiddenWidthRule = {.key = "model.hidden_width", .grow = Grow, .edit = Edit};

}  // namespace saffron
