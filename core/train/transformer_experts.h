#pragma once
// A variant's sparse layers, and what the routers did as metrics.

#include <map>
#include <string>

#include "core/model/variant.h"
#include "core/transformer/routing_statistics.h"
#include "core/transformer/transformer_network.h"

namespace saffron {

// Gives the layers that model.experts and model.expert_every name their experts.
void AddExperts(const ResolvedVariant& variant, TransformerShape& shape);
// Defaults where the variant has no experts.
MoeTraining MoeTrainingOf(const ResolvedVariant& variant);

// Routers of all sparse layers while a network evaluates.
class RoutingMetrics {
 public:
  // Watches from now on, until Stop. This must outlive that.
  void Watch(TransformerNetwork<float>& network);
  void Stop(TransformerNetwork<float>& network);
  bool seen() const { return !layers_.empty(); }
  // routing/*: the largest load of any layer, means over layers of the rest. Nothing without
  // sparse layers.
  void Describe(std::map<std::string, double>* metrics) const;
  // Of each sparse layer, by its index.
  const std::map<int, LayerRouting>& layers() const { return layers_; }

 private:
  std::map<int, LayerRouting> layers_;
};

}  // namespace saffron
