#pragma once
// What expansion.cc lists: from each operator's file the child's shape, and what becomes of
// tensors. What an operator's file does not name is kept as it is, with new rows and columns at the
// end, free.

#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "core/derive/derive_op.h"
#include "core/derive/tensor_map.h"
#include "core/transformer/transformer_shape.h"

namespace saffron {

// A tensor of the child while its map is made.
struct TensorEdit {
  TensorMap& map;
  std::string_view part;  // the name without "layers.I.": "attn.wq", "tok_embed"
  int layer;              // of the child; -1 outside layers
};

// Tensors that add to the residual stream, by part: attention's and every MLP's last product.
bool WritesToStream(std::string_view part);
// The last product of an MLP, dense or an expert's.
bool IsMlpOutput(std::string_view part);

struct ExpansionRule {
  const char* key;  // of a sweep, for the size that changes: "model.heads"
  // Changes the shape; errors say what is wanted and what is.
  absl::Status (*grow)(const DeriveOp& op, TransformerShape& shape);
  // Called for every tensor of the child, with rows, columns and source already as said above.
  void (*edit)(const DeriveOp& op, const TransformerShape& parent, const TransformerShape& child,
               TensorEdit& edit);
  // The parent's layer for each of the child's, -1 for a new one; null: the same.
  std::vector<int> (*layer_from)(const DeriveOp& op, const TransformerShape& parent,
                                 const TransformerShape& child) = nullptr;
  // The part of the parent's layer that a part of the child's comes from, empty for a new one;
  // null: the same.
  std::string (*part_from)(const DeriveOp& op, const TransformerShape& parent, int layer,
                           std::string_view part) = nullptr;
};

extern const ExpansionRule kMlpWidthRule, kHeadAdditionRule, kValueWidthRule, kKeyWidthRule,
    kHiddenWidthRule, kLayerAdditionRule, kUpcyclingRule;

// The layers that an operator is for. INVALID_ARGUMENT when one does not exist.
absl::StatusOr<std::vector<int>> LayersOf(const DeriveOp& op, const TransformerShape& shape);

// The largest size that the key of such operators may have.
int64_t MostOf(DeriveKind kind);

// The size that `op` makes of `size`; INVALID_ARGUMENT when that is not more, or more than
// MostOf. `what` names it in the error: "layers.0.mlp_width".
absl::StatusOr<int> Grown(const DeriveOp& op, const std::string& what, int size);

// Sources for an axis of `heads` heads of `size` elements each that become `grown`, new ones at the
// end of every head.
std::vector<int64_t> InsertInHeads(int heads, int size, int grown);

// `count` of `candidates`, one after another the farthest (in logarithm) from those that exist and
// those already taken: for frequencies and slopes of what is new.
std::vector<double> FarthestFrom(std::vector<double> existing, std::vector<double> candidates,
                                 int count);

}  // namespace saffron
