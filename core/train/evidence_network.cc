#include "core/train/evidence_network.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/match.h"
#include "core/base/check.h"
#include "core/base/random.h"
#include "core/base/status_macros.h"
#include "core/math/exp.h"

namespace saffron {
namespace {

constexpr int kHeadWidth = 32;
constexpr int kMixtureRounds = 50;
// Sequences that are evaluated together.
constexpr int64_t kEvaluatedTogether = 8;

TransformerShape ShapeOf(const EvidenceNetwork::Options& options, int vocab) {
  TransformerShape shape;
  shape.vocab = vocab;
  shape.width = options.width;
  shape.context = options.context;
  TransformerLayerShape layer;
  layer.heads = layer.kv_heads = std::max(1, options.width / kHeadWidth);
  layer.key_dim = layer.value_dim = options.width / layer.heads;
  layer.mlp_width = 2 * options.width;
  layer.rope_frequencies = RopeFrequencies(layer.key_dim);
  shape.layers.assign(options.layers, layer);
  return shape;
}

template <typename T>
std::vector<T> Times(double scale, std::vector<T> values) {
  for (T& v : values) v = static_cast<T>(scale * v);
  return values;
}

}  // namespace

EvidenceNetwork::EvidenceNetwork(const LogLinearModel& evidence, absl::Span<const int32_t> train,
                                 const Options& options)
    : evidence_(evidence),
      train_(train),
      options_(options),
      gains_(Times(options.evidence_scale, evidence.gains())),
      base_(Times(options.evidence_scale,
                  BaseLogits(evidence.shape(), evidence.tables(), evidence.gains()))),
      left_out_(evidence.shape(), evidence.tables(), train, Counted::kLeftOut) {}

absl::StatusOr<std::unique_ptr<EvidenceNetwork>> EvidenceNetwork::Create(
    const LogLinearModel& evidence, absl::Span<const int32_t> train, const Options& options) {
  std::unique_ptr<EvidenceNetwork> made(new EvidenceNetwork(evidence, train, options));
  ASSIGN_OR_RETURN(made->network_,
                   Network::Create(ShapeOf(options, evidence.tables().vocab()),
                                   {.dropout = options.dropout, .dropout_seed = options.seed}));
  made->DrawParameters();
  return made;
}

// Normal: embeddings of deviation 0.02, so that logits start near zero; matrices one over the root
// of their inputs, those that add to the residual stream less by the root of how many do (GPT-2).
void EvidenceNetwork::DrawParameters() {
  uint32_t substream = 0;
  for (const ParameterTensor& tensor : network_->layout().tensors) {
    const CounterRandom random(options_.seed, RandomPurpose::kWeights, substream++);
    const absl::Span<float> values = network_->tensor(tensor.begin);
    if (tensor.role == TensorRole::kVector) {
      std::fill(values.begin(), values.end(), absl::StrContains(tensor.name, "gain") ? 1.0f : 0.0f);
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

void EvidenceNetwork::JoinEvidence(PositionEvidence<float>& evidence, int64_t target,
                                   float* z) const {
  const float scale = static_cast<float>(options_.network_scale);
  for (size_t i = 0; i < base_.size(); ++i) z[i] = scale * z[i] + base_[i];
  AddRows(evidence.RowsOf(target), gains_, z);
}

double EvidenceNetwork::LossAndGradient(absl::Span<const int64_t> examples) {
  const int64_t size = static_cast<int64_t>(train_.size());
  const int64_t length = std::min<int64_t>(options_.context, size - 1), last = size - length - 1;
  const int64_t sequences = std::max<int64_t>(1, static_cast<int64_t>(examples.size()) / length);
  starts_.clear();
  // Where a sequence would reach past the end it begins earlier.
  for (int64_t s = 0; s < sequences; ++s) starts_.push_back(std::min(examples[s], last));
  std::sort(starts_.begin(), starts_.end());
  inputs_.clear();
  targets_.clear();
  for (int64_t start : starts_) {
    inputs_.insert(inputs_.end(), &train_[start], &train_[start] + length);
    targets_.insert(targets_.end(), &train_[start] + 1, &train_[start] + 1 + length);
  }
  const bool joined = options_.join == Join::kProduct && !alone_;
  if (joined) {
    network_->set_logit_offset([this, length](int64_t first, int64_t rows, Rows<float> z) {
      for (int64_t r = 0; r < rows; ++r) {
        JoinEvidence(left_out_, starts_[(first + r) / length] + 1 + (first + r) % length, z.row(r));
      }
    });
  }
  // Masks of dropout are drawn by what the step is about, so that a resumed run draws the same.
  const double loss = network_->LossAndGradient(inputs_, targets_, length, examples[0]);
  network_->set_logit_offset(nullptr);
  if (joined && options_.network_scale != 1) {
    // So far it is with respect to the joint logits.
    for (float& g : arena().gradients()) g *= static_cast<float>(options_.network_scale);
  }
  return loss;
}

std::vector<double> EvidenceNetwork::NetworkNats(absl::Span<const int32_t> stream,
                                                 absl::Span<const int64_t> targets,
                                                 Counted counted) {
  CHECK(targets.empty() || targets[0] > 0) << "the first token has nothing before it";
  const int64_t size = static_cast<int64_t>(stream.size());
  // Streams shorter than a sequence are seen in shorter ones.
  const int64_t length = std::min<int64_t>(options_.context, size - 1);
  PositionEvidence<float> evidence(evidence_.shape(), evidence_.tables(), stream, counted);
  std::vector<double> nats;
  nats.reserve(targets.size());
  std::vector<int32_t> inputs, wanted;
  std::vector<int64_t> positions;  // of `wanted`
  network_->set_logit_offset([&](int64_t first, int64_t rows, Rows<float> z) {
    for (int64_t r = 0; r < rows; ++r) {
      if (wanted[first + r] == kIgnoredTarget) continue;
      if (options_.join == Join::kProduct) JoinEvidence(evidence, positions[first + r], z.row(r));
      nats.push_back(LogSumExp(z.row(r), static_cast<int64_t>(base_.size())) -
                     z.row(r)[wanted[first + r]]);
    }
  });
  for (size_t n = 0; n < targets.size();) {
    inputs.clear();
    wanted.clear();
    positions.clear();
    for (int64_t s = 0; s < kEvaluatedTogether && n < targets.size(); ++s) {
      // The sequence in which the next target comes right after the first half.
      const int64_t start = std::clamp<int64_t>(targets[n] - 1 - length / 2, 0, size - 1 - length);
      for (int64_t t = start; t < start + length; ++t) {
        inputs.push_back(stream[t]);
        const bool is_next = n < targets.size() && targets[n] == t + 1;
        wanted.push_back(is_next ? stream[t + 1] : kIgnoredTarget);
        positions.push_back(t + 1);
        n += is_next;
      }
    }
    network_->Evaluate(inputs, wanted, length);
  }
  network_->set_logit_offset(nullptr);  // it refers to what ends here
  return nats;
}

std::vector<double> EvidenceNetwork::Nats(absl::Span<const int32_t> stream,
                                          absl::Span<const int64_t> targets, Counted counted) {
  std::vector<double> nats = NetworkNats(stream, targets, counted);
  if (options_.join == Join::kProduct) return nats;
  const std::vector<double> of_evidence = evidence_.Nats(stream, targets, counted);
  for (size_t n = 0; n < nats.size(); ++n) {
    nats[n] = -std::log(weight_ * std::exp(-of_evidence[n]) + (1 - weight_) * std::exp(-nats[n]));
  }
  return nats;
}

void EvidenceNetwork::FitMixture(absl::Span<const int32_t> stream,
                                 absl::Span<const int64_t> targets) {
  const std::vector<double> of_network = NetworkNats(stream, targets, Counted::kAsIs);
  const std::vector<double> of_evidence = evidence_.Nats(stream, targets, Counted::kAsIs);
  weight_ = 0.5;
  for (int round = 0; round < kMixtureRounds; ++round) {
    double sum = 0;
    for (size_t n = 0; n < of_network.size(); ++n) {
      const double a = weight_ * std::exp(-of_evidence[n]);
      sum += a / (a + (1 - weight_) * std::exp(-of_network[n]));
    }
    weight_ = sum / static_cast<double>(of_network.size());
  }
}

}  // namespace saffron
