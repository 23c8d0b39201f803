#include "core/train/transformer_experts.h"

#include <algorithm>

#include "core/transformer/kind_names.h"

namespace saffron {
namespace {

bool HasExperts(const ResolvedVariant& v) { return v.Has("model.expert_top"); }

}  // namespace

void AddExperts(const ResolvedVariant& v, TransformerShape& shape) {
  if (!HasExperts(v)) return;
  MoeShape moe;
  moe.experts = static_cast<int>(v.Int("model.experts"));
  moe.top = static_cast<int>(v.Int("model.expert_top"));
  // A gate over the chosen ones alone is 1 where there is one: nothing would teach the router.
  moe.gates = moe.top == 1 ? MoeGates::kAll : MoeGates::kSelected;
  if (v.Has("model.capacity")) moe.capacity_factor = v.Double("model.capacity");
  moe.eval_capacity_factor = v.Double("model.eval_capacity");
  if (v.Has("model.second_policy"))
    moe.second = KindOf<SecondPolicy>(v.String("model.second_policy"));
  if (v.Has("model.second_threshold")) moe.threshold = v.Double("model.second_threshold");
  moe.slots = KindOf<SlotOrder>(v.String("model.slots"));
  moe.dense = KindOf<DensePlace>(v.String("model.sparse_dense"));
  const auto every = static_cast<size_t>(v.Int("model.expert_every"));
  for (size_t i = every - 1; i < shape.layers.size(); i += every) shape.layers[i].moe = moe;
}

MoeTraining MoeTrainingOf(const ResolvedVariant& v) {
  if (!v.Has("model.balance")) return {};
  return {.z_loss = v.Double("model.router_z"),
          .balance_loss = v.Double("model.balance"),
          .jitter = v.Double("model.router_jitter"),
          .expert_dropout = v.Double("model.expert_dropout")};
}

void RoutingMetrics::Watch(TransformerNetwork<float>& network) {
  network.set_routing_observer(
      [this](int layer, const MoeRoutingView& routing, absl::Span<const int32_t> tokens) {
        layers_[layer].Add(routing, tokens);
      });
}

void RoutingMetrics::Stop(TransformerNetwork<float>& network) {
  network.set_routing_observer(nullptr);
}

void RoutingMetrics::Describe(std::map<std::string, double>* metrics) const {
  if (layers_.empty()) return;
  const double share = 1.0 / static_cast<double>(layers_.size());
  for (const auto& [layer, routing] : layers_) {
    const RoutingSummary summary = routing.Summary();
    double& load = (*metrics)["routing/load"];
    load = std::max(load, summary.largest_load);
    (*metrics)["routing/dropped"] += share * summary.drop_rate;
    (*metrics)["routing/unserved"] += share * summary.unserved;
    (*metrics)["routing/entropy"] += share * summary.entropy;
    (*metrics)["routing/z"] += share * summary.z;
    (*metrics)["routing/information"] += share * summary.information;
    (*metrics)["routing/information_shuffled"] += share * summary.information_shuffled;
  }
}

}  // namespace saffron
