#pragma once
// A transformer beside a log-linear model of the same text: as a product, trained on what the
// evidence leaves to be explained, or apart from it, to be mixed with it.
//
//   product: z = a z_evidence + b z_network   trained with the target left out of the counts behind
//                                             z_evidence, which would give it away; z_evidence and
//                                             the scales a, b fixed. Steps may begin with the
//                                             network alone, z = z_network: it learns faster before
//                                             evidence explains most of what it could learn from
//   mixture: P = w P_evidence + (1 - w) P_network   trained alone; w by expectation maximisation
//
// The product ends where neither gets alone (Hinton, "Products of
// experts", 1999; Mikolov et al., "Strategies for training large scale neural network language
// models", 2011, section 5, train maximum-entropy n-grams and a network jointly).

#include <cstdint>
#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "core/log_linear/log_linear_model.h"
#include "core/transformer/transformer_network.h"

namespace saffron {

enum class Join : uint8_t { kProduct, kMixture };

class EvidenceNetwork {
 public:
  struct Options {
    Join join = Join::kProduct;
    int width = 128, layers = 2, context = 64;
    double dropout = 0.1;
    double evidence_scale = 1, network_scale = 1;  // a, b
    uint64_t seed = 0;
  };
  // `evidence` and `train`, the stream that it counts, must outlive this. RESOURCE_EXHAUSTED when
  // there is no memory.
  static absl::StatusOr<std::unique_ptr<EvidenceNetwork>> Create(const LogLinearModel& evidence,
                                                                 absl::Span<const int32_t> train,
                                                                 const Options& options);

  // A step's examples are as many targets: sequences of `context` tokens that begin at the first of
  // them, one for each `context` examples. Mean loss, of the network alone while it is; its
  // gradient is left in arena().
  double LossAndGradient(absl::Span<const int64_t> examples);
  // Whether steps leave evidence out from now on. Nats() never does.
  void set_alone(bool alone) { alone_ = alone; }
  ParameterArena<float>& arena() { return network_->arena(); }

  // -log P of ascending targets, none of them the first token; each sees at least context / 2
  // tokens where the stream has them.
  std::vector<double> Nats(absl::Span<const int32_t> stream, absl::Span<const int64_t> targets,
                           Counted counted);
  // Weight of the evidence in a mixture, found on these targets.
  void FitMixture(absl::Span<const int32_t> stream, absl::Span<const int64_t> targets);
  double mixture_weight() const { return weight_; }
  int64_t parameters() const { return network_->layout().size; }

 private:
  using Network = TransformerNetwork<float>;
  EvidenceNetwork(const LogLinearModel& evidence, absl::Span<const int32_t> train,
                  const Options& options);
  void DrawParameters();
  // z <- a z_evidence + b z
  void JoinEvidence(PositionEvidence<float>& evidence, int64_t target, float* z) const;
  // Of the network, the evidence added where they are a product.
  std::vector<double> NetworkNats(absl::Span<const int32_t> stream,
                                  absl::Span<const int64_t> targets, Counted counted);

  const LogLinearModel& evidence_;
  const absl::Span<const int32_t> train_;
  const Options options_;
  const std::vector<double> gains_;  // of the evidence, times a
  std::vector<float> base_;          // likewise
  bool alone_ = false;
  PositionEvidence<float> left_out_;
  std::unique_ptr<Network> network_;
  std::vector<int64_t> starts_;
  std::vector<int32_t> inputs_, targets_;
  double weight_ = 0.5;
};

}  // namespace saffron
