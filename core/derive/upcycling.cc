// experts: dense MLPs become as many experts, each a copy, behind a router that is free. A mean of
// equal outputs is that output, whatever weighs it, as long as weights sum to 1 and nobody is left
// out: gates over the chosen experts alone, every choice taken, room for every token. Other
// settings are refused. What the layers drop in training alone (model.capacity, jitter, dropout) is
// no part of what they compute. A dense MLP beside the experts is new, and adds zero.
//
// Komatsuzaki et al., "Sparse upcycling", ICLR 2023, with the conditions under which it is exact.
//
// Each expert's gradient is that of its tokens, weighed by its gates, so that those of all experts
// together are the dense MLP's. Routers are drawn without looking at the data: which share an
// expert gets is not known, 1 / experts is its expectation, and the optimiser's moments go along as
// for a gradient of that share (TensorMap::gradient_share).

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "core/base/status_macros.h"
#include "core/derive/expansion_table.h"
#include "core/transformer/kind_names.h"

namespace saffron {
namespace {

bool StartsWith(std::string_view text, std::string_view start) {
  return text.substr(0, start.size()) == start;
}

// What keeps the experts' mean from being their common output, by the keys of a sweep.
absl::Status CheckExact(const DeriveOp& op, const MoeShape& moe) {
  std::vector<std::string> wrong;
  if (moe.gates == MoeGates::kAll && moe.top < moe.experts) {
    wrong.push_back(absl::StrCat("model.expert_top is ", moe.top,
                                 ": want 2 or more, for a single choice's output is multiplied by "
                                 "its probability among all experts"));
  }
  if (moe.top > 1 && moe.second != SecondPolicy::kAll) {
    wrong.push_back(absl::StrCat("model.second_policy is ", NameOf(moe.second),
                                 ": want all, for the gates of choices that are taken must sum to "
                                 "1"));
  }
  if (moe.eval_capacity_factor < moe.experts) {
    wrong.push_back(absl::StrCat("model.eval_capacity is ", moe.eval_capacity_factor,
                                 ": want at least ", moe.experts,
                                 ", the number of experts, for every one of them must have room "
                                 "for every token"));
  }
  if (wrong.empty()) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat(op.Text(), " is not exact: ", absl::StrJoin(wrong, "; ")));
}

// How the layers that become sparse route.
MoeShape Routing(const DeriveOp& op) {
  const int experts = static_cast<int>(op.size.amount);
  MoeShape moe = op.moe.value_or(MoeShape{.capacity_factor = static_cast<double>(experts),
                                          .eval_capacity_factor = static_cast<double>(experts),
                                          .second = SecondPolicy::kAll});
  moe.experts = experts;
  moe.top = std::min(moe.top, experts);
  return moe;
}

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
    const int64_t most = MostOf(op.kind);
    if (op.size.mode != DeriveSize::Mode::kTo || op.size.amount < 2 || op.size.amount > most) {
      return absl::InvalidArgumentError(
          absl::StrCat(op.Text(), ": ", what, ": want 2 to ", most, ", as a number of its own"));
    }
    layer.moe = Routing(op);
    RETURN_IF_ERROR(CheckExact(op, layer.moe));
  }
  return absl::OkStatus();
}

// "moe.experts.3.w1" comes from "mlp.w1"; the router and the dense MLP beside from nowhere.
std::string PartFrom(const DeriveOp&, const TransformerShape& parent, int layer,
                     std::string_view part) {
  if (parent.layers[layer].moe.sparse() || !StartsWith(part, "moe.")) return std::string(part);
  if (!StartsWith(part, "moe.experts.")) return "";
  return "mlp" + std::string(part.substr(part.rfind('.')));
}

void Edit(const DeriveOp& op, const TransformerShape&, const TransformerShape&, TensorEdit& edit) {
  if (WritesToStream(edit.part)) edit.map.fill = NewEntries::kZero;
  // Of a layer that has just become sparse: those of others come from experts.
  if (StartsWith(edit.part, "moe.experts.") && edit.map.from.find(".mlp.") != std::string::npos) {
    edit.map.gradient_share = 1.0 / static_cast<double>(op.size.amount);
  }
}

}  // namespace

const ExpansionRule kUpcyclingRule = {
    .key = "model.experts", .grow = Grow, .edit = Edit, .part_from = PartFrom};

}  // namespace saffron
