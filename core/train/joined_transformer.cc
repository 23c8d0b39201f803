// A transformer to be joined: sequences of `context` tokens, each seeing those before it.

#include <algorithm>
#include <cmath>
#include <vector>

#include "absl/strings/match.h"
#include "core/base/check.h"
#include "core/base/random.h"
#include "core/base/status_macros.h"
#include "core/train/joined_network.h"
#include "core/transformer/transformer_network.h"

namespace saffron {
namespace {

constexpr int kHeadWidth = 32;
// Sequences that are evaluated together.
constexpr int64_t kEvaluatedTogether = 8;

TransformerShape ShapeOf(const JoinedNetwork::Options& options) {
  TransformerShape shape;
  shape.vocab = options.vocab;
  shape.width = options.width;
  shape.context = options.context;
  shape.tied = options.tied;
  TransformerLayerShape layer;
  layer.heads = layer.kv_heads = std::max(1, options.width / kHeadWidth);
  layer.key_dim = layer.value_dim = options.width / layer.heads;
  layer.mlp_width = 2 * options.width;
  layer.rope_frequencies = RopeFrequencies(layer.key_dim);
  shape.layers.assign(options.layers, layer);
  return shape;
}

class JoinedTransformer final : public JoinedNetwork {
 public:
  explicit JoinedTransformer(const Options& options) : options_(options) {}

  absl::Status Allocate() {
    ASSIGN_OR_RETURN(network_, TransformerNetwork<float>::Create(ShapeOf(options_),
                                                                 {.dropout = options_.dropout,
                                                                  .dropout_seed = options_.seed,
                                                                  .beside = options_.beside}));
    DrawParameters();
    return absl::OkStatus();
  }

  double LossAndGradient(absl::Span<const int32_t> stream, absl::Span<const int64_t> starts,
                         int64_t length, int64_t draw, const OnLogits& on_logits) override {
    inputs_.clear();
    targets_.clear();
    for (const int64_t start : starts) {
      inputs_.insert(inputs_.end(), &stream[start], &stream[start] + length);
      targets_.insert(targets_.end(), &stream[start] + 1, &stream[start] + 1 + length);
    }
    const auto offset = [&](int64_t first, int64_t rows, Rows<float> z) {
      for (int64_t r = 0; r < rows; ++r) {
        on_logits(starts[(first + r) / length] + 1 + (first + r) % length, z.row(r));
      }
    };
    if (on_logits != nullptr) network_->set_logit_offset(std::cref(offset));
    const double loss = network_->LossAndGradient(inputs_, targets_, length, draw);
    network_->set_logit_offset(nullptr);  // it refers to what ends here
    return loss;
  }

  // A target sees at least context / 2 tokens where the stream has them.
  void VisitLogits(absl::Span<const int32_t> stream, absl::Span<const int64_t> targets,
                   const OnLogits& visit) override {
    const int64_t size = static_cast<int64_t>(stream.size());
    CHECK(targets.empty() || (targets.front() > 0 && targets.back() < size)) << "outside the text";
    // Streams shorter than a sequence are seen in shorter ones.
    const int64_t length = std::min<int64_t>(options_.context, size - 1);
    std::vector<int64_t> positions;  // of targets_
    const auto offset = [&](int64_t first, int64_t rows, Rows<float> z) {
      for (int64_t r = 0; r < rows; ++r) {
        if (targets_[first + r] != kIgnoredTarget) visit(positions[first + r], z.row(r));
      }
    };
    network_->set_logit_offset(std::cref(offset));
    for (size_t n = 0; n < targets.size();) {
      inputs_.clear();
      targets_.clear();
      positions.clear();
      for (int64_t s = 0; s < kEvaluatedTogether && n < targets.size(); ++s) {
        // The sequence in which the next target comes right after the first half.
        const int64_t start =
            std::clamp<int64_t>(targets[n] - 1 - length / 2, 0, size - 1 - length);
        for (int64_t t = start; t < start + length; ++t) {
          inputs_.push_back(stream[t]);
          const bool is_next = n < targets.size() && targets[n] == t + 1;
          targets_.push_back(is_next ? stream[t + 1] : kIgnoredTarget);
          positions.push_back(t + 1);
          n += is_next;
        }
      }
      network_->Evaluate(inputs_, targets_, length);
    }
    network_->set_logit_offset(nullptr);
  }

  ParameterArena<float>& arena() override { return network_->arena(); }
  int64_t parameters() const override { return network_->layout().size; }

 private:
  // Normal: embeddings of deviation 0.02, so that logits start near zero; matrices one over the
  // root of their inputs, those that add to the residual stream less by the root of how many do
  // (GPT-2).
  void DrawParameters() {
    uint32_t substream = 0;
    for (const ParameterTensor& tensor : network_->layout().tensors) {
      const CounterRandom random(options_.seed, RandomPurpose::kWeights, substream++);
      const absl::Span<float> values = network_->tensor(tensor.begin);
      if (tensor.role == TensorRole::kVector) {
        std::fill(values.begin(), values.end(),
                  absl::StrContains(tensor.name, "gain") ? 1.0f : 0.0f);
        continue;
      }
      double deviation = tensor.role == TensorRole::kEmbedding
                             ? 0.02
                             : 1 / std::sqrt(static_cast<double>(tensor.rows));
      if (absl::EndsWith(tensor.name, ".wo") || absl::EndsWith(tensor.name, ".w2")) {
        deviation /= std::sqrt(2.0 * options_.layers);
      }
      for (size_t i = 0; i < values.size(); ++i) {
        values[i] = static_cast<float>(deviation * random.Normal(i));
      }
    }
  }

  const Options options_;
  std::unique_ptr<TransformerNetwork<float>> network_;
  std::vector<int32_t> inputs_, targets_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<JoinedNetwork>> MakeJoinedTransformer(
    const JoinedNetwork::Options& options) {
  auto network = std::make_unique<JoinedTransformer>(options);
  RETURN_IF_ERROR(network->Allocate());
  return network;
}

}  // namespace saffron
