#pragma once
// A network beside a log-linear model of the same text: as a product, trained on what the evidence
// leaves to be explained, or apart from it, to be mixed with it.
//
//   product: z = a z_evidence + b z_network   trained with the target left out of the counts behind
//                                             z_evidence, which would give it away; the scales a, b
//                                             fixed, the gains of the evidence too or trained
//                                             along. Steps may begin with the network alone, z =
//                                             z_network: it learns faster before evidence explains
//                                             most of what it could learn from. For scoring, a and
//                                             b can be fitted: the loss is convex in them
//   mixture: P = w P_evidence + (1 - w) P_network   trained alone; w by expectation maximisation
//
// The gradient for a gain is dL/dgain = a sum_t <what it weighs at t, p - y> / targets, with the p
// of the joint softmax. The product ends where neither gets alone (Hinton, "Products of experts",
// 1999; Mikolov et al., "Strategies for training large scale neural network language models", 2011,
// section 5, train maximum-entropy n-grams and a network jointly).

#include <Eigen/Core>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "core/log_linear/dense_evidence.h"
#include "core/log_linear/gain_objective.h"
#include "core/log_linear/log_linear_model.h"
#include "core/train/joined_network.h"
#include "core/train/trained_part.h"

namespace saffron {

enum class Join : uint8_t { kProduct, kMixture };

class EvidenceNetwork : public TrainedPart {
 public:
  struct Options {
    Join join = Join::kProduct;
    std::string network = "transformer";
    int width = 128, layers = 2, context = 64;
    double dropout = 0.1;
    bool tied = true;
    double evidence_scale = 1, network_scale = 1;  // a, b
    bool train_gains = false;                      // of the evidence, in a product
    uint64_t seed = 0;
    // Of networks that are solved before they are trained (saffu).
    const TextDataset* data = nullptr;
    StatisticsCache* statistics = nullptr;
  };
  // `evidence` and `train`, the stream that it counts, must outlive this. Errors are those of
  // making the network (joined_network.h).
  static absl::StatusOr<std::unique_ptr<EvidenceNetwork>> Create(const LogLinearModel& evidence,
                                                                 absl::Span<const int32_t> train,
                                                                 const Options& options);

  // A step's examples are as many targets: sequences of `context` tokens that begin at the first of
  // them, one for each `context` examples. Mean loss, of the network alone while it is; its
  // gradient is left in arena().
  double LossAndGradient(absl::Span<const int64_t> examples) override;
  // Whether steps leave evidence out from now on. Nats() never does.
  void set_alone(bool alone) { alone_ = alone; }
  // The network's parameters; behind them the gains, where they are trained.
  ParameterArena<float>& arena() override { return network_->arena(); }
  // Those of the evidence, as trained so far. Empty where they are not trained.
  std::vector<double> TrainedGains();

  // -log P of ascending targets, none of them the first token.
  std::vector<double> Nats(absl::Span<const int32_t> stream, absl::Span<const int64_t> targets,
                           Counted counted) override;
  // The scales that minimise the loss of a product on these targets, for Nats() from now on. Steps
  // go on with those of the options.
  void FitScales(absl::Span<const int32_t> stream, absl::Span<const int64_t> targets);
  double evidence_scale() const { return scoring_.evidence; }
  double network_scale() const { return scoring_.network; }
  // Weight of the evidence in a mixture, found on these targets.
  void FitMixture(absl::Span<const int32_t> stream, absl::Span<const int64_t> targets);
  double mixture_weight() const { return weight_; }
  // All that are trained.
  int64_t parameters() const override { return network_->parameters() + trained_gains_; }
  int64_t trained_gains() const { return trained_gains_; }

 private:
  struct Scales {
    double evidence = 1, network = 1;  // a, b

    friend bool operator==(const Scales&, const Scales&) = default;
  };

  EvidenceNetwork(const LogLinearModel& evidence, absl::Span<const int32_t> train,
                  const Options& options);
  // The gains in the arena, [trained_gains_], or their gradient.
  absl::Span<float> GainsIn(absl::Span<float> array) const;
  // Brings gains_ and base_ up to date with the scales, and with the arena where gains are trained.
  void ReadGains(const Scales& scales);
  // z <- a z_evidence + b z
  void JoinEvidence(absl::Span<const EvidenceRow<float>> rows,
                    absl::Span<const DenseRow<float>> dense, float* z) const;
  // The same while training, where the gradient of the gains is taken too.
  void JoinTrainingTarget(int64_t t, float* z);
  // Of a product, summed over the targets, as a function of its two scales.
  GainLoss LossAtScales(const Scales& scales, absl::Span<const int32_t> stream,
                        absl::Span<const int64_t> targets);
  // Of the network, the evidence added where they are a product.
  std::vector<double> NetworkNats(absl::Span<const int32_t> stream,
                                  absl::Span<const int64_t> targets, Counted counted);

  const LogLinearModel& evidence_;
  const absl::Span<const int32_t> train_;
  const Options options_;
  const int64_t trained_gains_;  // how many
  const Scales training_;
  Scales scoring_, scales_;    // scales_: those in gains_ and base_
  std::vector<double> gains_;  // of the evidence, times a
  std::vector<float> base_;    // likewise
  bool alone_ = false;
  PositionEvidence<float> left_out_;
  DenseEvidence<float> dense_left_out_;
  std::unique_ptr<JoinedNetwork> network_;
  JoinedNetwork::OnLogits join_training_target_;
  std::vector<int64_t> starts_;
  std::vector<float> p_;               // [V] of a target in training; p - y
  std::vector<double> gain_gradient_;  // sum over targets, by the gains in gains_
  double weight_ = 0.5;
};

}  // namespace saffron
