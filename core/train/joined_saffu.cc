// A SAFFU network to be joined, solved explicitly before it is trained: `context` lags of bit
// ciphers of `width` bits, and the context vector of the last token.

#include <vector>

#include "core/base/check.h"
#include "core/base/status_macros.h"
#include "core/layers/saffu_layer.h"
#include "core/solve/saffu_solve.h"
#include "core/train/joined_network.h"

namespace saffron {
namespace {

class JoinedSaffu final : public JoinedNetwork {
 public:
  explicit JoinedSaffu(std::unique_ptr<SaffuNetwork<float>> network)
      : network_(std::move(network)) {}

  double LossAndGradient(absl::Span<const int32_t> stream, absl::Span<const int64_t> starts,
                         int64_t length, int64_t draw, const OnLogits& on_logits) override {
    targets_.clear();
    for (const int64_t start : starts) {
      for (int64_t t = start + 1; t <= start + length; ++t) targets_.push_back(t);
    }
    return on_logits == nullptr ? network_->LossAndGradient(stream, targets_)
                                : network_->LossAndGradient(stream, targets_, on_logits);
  }

  void VisitLogits(absl::Span<const int32_t> stream, absl::Span<const int64_t> targets,
                   const OnLogits& visit) override {
    network_->VisitLogits(stream, targets, visit);
  }

  ParameterArena<float>& arena() override { return network_->arena(); }
  int64_t parameters() const override { return network_->num_parameters(); }

 private:
  const std::unique_ptr<SaffuNetwork<float>> network_;
  std::vector<int64_t> targets_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<JoinedNetwork>> MakeJoinedSaffu(
    const JoinedNetwork::Options& options) {
  CHECK(options.data != nullptr && options.statistics != nullptr) << "a solution of what?";
  SaffuSolveSpec spec;
  spec.bits = spec.width = options.width;
  spec.context = options.context;
  spec.layers = options.layers;
  ASSIGN_OR_RETURN(SaffuSolution solution, SolveSaffu(spec, *options.data, *options.statistics));
  std::vector<SaffuLayerParams<float>> params;
  for (SaffuLayerSolution& layer : solution.layers) params.push_back(std::move(layer.params));
  ASSIGN_OR_RETURN(auto network, SaffuNetwork<float>::Create(params, std::move(solution.features),
                                                             {.beside = options.beside}));
  return std::make_unique<JoinedSaffu>(std::move(network));
}

}  // namespace saffron
