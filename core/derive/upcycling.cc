// experts: dense MLPs become as many experts, each a copy, behind a router that is free. A mean of
// equal outputs is that output, whatever weighs it, as long as weights sum to 1 and nobody is left
// out: gates over the chosen experts alone, every choice taken, room for every token.
// Komatsuzaki et al., "Sparse upcycling", ICLR 2023, without the conditions.

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "core/base/status_macros.h"
#include "core/derive/expansion_table.h"

namespace saffron {
namespace {

absl::Status Grow(const DeriveOp& op, TransformerShape& shape) {
  ASSIGN_OR_RETURN(const std::vector<int> layers, LayersOf(op, shape));
  for (const int i : layers) {
    TransformerLayerShape& layer = shape.layers[i];
    const std::string what = absl::StrCat("layers.", i, ".experts");
    if (layer.moe.sparse()) {
      return absl::InvalidArgumentError(absl::StrCat(
          op.Text(), ": ", what, " is ", layer.moe.experts,
          ": want a dense layer, for a new expert would take tokens from those that are there"));
    }
    constexpr int kExpertsMax = 1024;
    if (op.size.mode != DeriveSize::Mode::kTo || op.size.amount < 2 ||
        op.size.amount > kExpertsMax) {
      return absl::InvalidArgumentError(absl::StrCat(op.Text(), ": ", what, ": want 2 to ",
                                                     kExpertsMax, ", as a number of its own"));
    }
    const int experts = static_cast<int>(op.size.amount);
    layer.moe = {.experts = experts,
                 .top = std::min(2, experts),
                 .capacity_factor = static_cast<double>(experts),
                 .eval_capacity_factor = static_cast<double>(experts),
                 .gates = MoeGates::kSelected,
                 .second = SecondPolicy::kAll};
  }
  return absl::OkStatus();
}

// "moe.experts.3.w1" comes from "mlp.w1", the router from nowhere.
std::string PartFrom(const DeriveOp&, const TransformerShape& parent, int layer,
                     std::string_view part) {
  if (parent.layers[layer].moe.sparse() || part.substr(0, 4) != "moe.") return std::string(part);
  if (part == "moe.router") return "";
  return "mlp" + std::string(part.substr(part.rfind('.')));
}

void Edit(const DeriveOp&, const TransformerShape&, const TransformerShape&, TensorEdit&) {}

}  // namespace

const ExpansionRule kUpcyclingRule = {.grow = Grow, .edit = Edit, .part_from = PartFrom};

}  // namespace saffron
