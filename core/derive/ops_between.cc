#include "core/derive/ops_between.h"

#include <algorithm>
#include <map>
#include <utility>

#include "core/base/status_macros.h"
#include "core/derive/expansion.h"

namespace saffron {
namespace {

class Finder {
  using Layer = TransformerLayerShape;

 public:
  Finder(TransformerShape from, const TransformerShape& to) : shape_(std::move(from)), to_(to) {}

  absl::Status Add(DeriveOp op) {
    ASSIGN_OR_RETURN(shape_, ExpandShape(shape_, op));
    ops_.push_back(std::move(op));
    return absl::OkStatus();
  }

  absl::Status Whole(DeriveKind kind, int has, int wants) {
    if (has == wants) return absl::OkStatus();
    return Add({.kind = kind, .size = {.amount = wants}});
  }

  // `size(layer)` of every layer that both have; layers that want the same size in one operator.
  template <typename Size>
  absl::Status Layers(DeriveKind kind, Size size) {
    std::map<int, std::vector<int>> wanted;
    const size_t layers = std::min(shape_.layers.size(), to_.layers.size());
    for (size_t i = 0; i < layers; ++i) {
      const int wants = size(to_.layers[i]);
      if (size(shape_.layers[i]) != wants) wanted[wants].push_back(static_cast<int>(i));
    }
    for (auto& [wants, which] : wanted) {
      DeriveOp op = {.kind = kind, .size = {.amount = wants}};
      if (which.size() < shape_.layers.size()) op.layers = std::move(which);
      RETURN_IF_ERROR(Add(std::move(op)));
    }
    return absl::OkStatus();
  }

  absl::Status Sizes() {
    RETURN_IF_ERROR(Layers(DeriveKind::kHeads, [](const Layer& l) { return l.heads; }));
    RETURN_IF_ERROR(Layers(DeriveKind::kKey, [](const Layer& l) { return l.key_dim; }));
    RETURN_IF_ERROR(Layers(DeriveKind::kValue, [](const Layer& l) { return l.value_dim; }));
    return Layers(DeriveKind::kMlp, [](const Layer& l) { return l.mlp_width; });
  }

  absl::StatusOr<std::vector<DeriveOp>> Find() {
    RETURN_IF_ERROR(Whole(DeriveKind::kHidden, shape_.width, to_.width));
    RETURN_IF_ERROR(Sizes());
    RETURN_IF_ERROR(Whole(DeriveKind::kLayers, static_cast<int>(shape_.layers.size()),
                          static_cast<int>(to_.layers.size())));
    RETURN_IF_ERROR(Sizes());  // a new layer has those of the one below it
    RETURN_IF_ERROR(Layers(DeriveKind::kExperts, [](const Layer& l) { return l.moe.experts; }));
    return std::move(ops_);
  }

 private:
  TransformerShape shape_;  // with the operators so far
  const TransformerShape& to_;
  std::vector<DeriveOp> ops_;
};

}  // namespace

absl::StatusOr<std::vector<DeriveOp>> OpsBetween(const TransformerShape& from,
                                                 const TransformerShape& to) {
  return Finder(from, to).Find();
}

}  // namespace saffron
