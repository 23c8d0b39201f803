#include "core/train/evidence_network.h"

#include <algorithm>
#include <cmath>

#include "core/base/check.h"
#include "core/base/status_macros.h"
#include "core/log_linear/bounded_newton.h"
#include "core/log_linear/gain_objective.h"
#include "core/math/exp.h"

namespace saffron {
namespace {

constexpr int kMixtureRounds = 50;
constexpr double kScaleMax = 10;
constexpr double kScalePrior = 1e-3;  // only keeps the curvature definite
// Nats a target.
constexpr double kScaleTolerance = 1e-5;

struct Entry {
  const char* name;  // model.network
  absl::StatusOr<std::unique_ptr<JoinedNetwork>> (*make)(const JoinedNetwork::Options& options);
};
constexpr Entry kNetworks[] = {{"feed_forward", &MakeJoinedFeedForward},
                               {"saffu", &MakeJoinedSaffu},
                               {"transformer", &MakeJoinedTransformer}};

absl::StatusOr<std::unique_ptr<JoinedNetwork>> MakeNetwork(const std::string& name,
                                                           const JoinedNetwork::Options& options) {
  for (const Entry& entry : kNetworks) {
    if (name == entry.name) return entry.make(options);
  }
  CHECK(false) << "no network " << name;
  return nullptr;
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
      trained_gains_(options.train_gains ? evidence.shape().gains : 0),
      training_{options.evidence_scale, options.network_scale},
      scoring_(training_),
      scales_(training_),
      gains_(Times(options.evidence_scale, evidence.gains())),
      base_(Times(options.evidence_scale,
                  BaseLogits(evidence.shape(), evidence.tables(), evidence.gains()))),
      left_out_(evidence.shape(), evidence.tables(), train, Counted::kLeftOut),
      dense_left_out_(evidence.shape(), evidence.tables().dense, train, Counted::kLeftOut),
      join_training_target_([this](int64_t t, float* z) { JoinTrainingTarget(t, z); }),
      p_(evidence.tables().vocab()),
      gain_gradient_(trained_gains_) {}

absl::StatusOr<std::unique_ptr<EvidenceNetwork>> EvidenceNetwork::Create(
    const LogLinearModel& evidence, absl::Span<const int32_t> train, const Options& options) {
  std::unique_ptr<EvidenceNetwork> made(new EvidenceNetwork(evidence, train, options));
  ASSIGN_OR_RETURN(made->network_,
                   MakeNetwork(options.network, {.vocab = evidence.tables().vocab(),
                                                 .width = options.width,
                                                 .layers = options.layers,
                                                 .context = options.context,
                                                 .dropout = options.dropout,
                                                 .tied = options.tied,
                                                 .seed = options.seed,
                                                 .data = options.data,
                                                 .statistics = options.statistics,
                                                 .beside = {.name = "evidence.gains",
                                                            .cols = made->trained_gains_}}));
  std::copy_n(evidence.gains().begin(), made->trained_gains_,
              made->GainsIn(made->arena().parameters()).begin());
  return made;
}

absl::Span<float> EvidenceNetwork::GainsIn(absl::Span<float> array) const {
  return array.last(static_cast<size_t>(trained_gains_));
}

std::vector<double> EvidenceNetwork::TrainedGains() {
  const absl::Span<float> gains = GainsIn(arena().parameters());
  return {gains.begin(), gains.end()};
}

void EvidenceNetwork::ReadGains(const Scales& scales) {
  if (trained_gains_ == 0 && scales == scales_) return;
  scales_ = scales;
  if (trained_gains_ > 0) {
    const absl::Span<const float> gains = GainsIn(arena().parameters());
    std::copy(gains.begin(), gains.end(), gains_.begin());
  } else {
    gains_ = evidence_.gains();
  }
  FillBaseLogits(evidence_.shape(), evidence_.tables(), gains_, base_.data());
  for (double& gain : gains_) gain *= scales.evidence;
  for (float& z : base_) z = static_cast<float>(scales.evidence * z);
}

void EvidenceNetwork::JoinEvidence(absl::Span<const EvidenceRow<float>> rows,
                                   absl::Span<const DenseRow<float>> dense, float* z) const {
  const float scale = static_cast<float>(scales_.network);
  for (size_t i = 0; i < base_.size(); ++i) z[i] = scale * z[i] + base_[i];
  AddRows(rows, gains_, z);
  AddDenseRows(dense, gains_, static_cast<int64_t>(base_.size()), z);
}

void EvidenceNetwork::JoinTrainingTarget(int64_t t, float* z) {
  const auto rows = left_out_.RowsOf(t);
  const auto dense = dense_left_out_.At(t);
  JoinEvidence(rows, dense, z);
  if (trained_gains_ == 0) return;
  std::copy_n(z, p_.size(), p_.begin());
  SoftmaxInPlace(p_.data(), static_cast<int64_t>(p_.size()));
  p_[train_[t]] -= 1;
  AddGainGradient(evidence_.shape(), evidence_.tables(), rows, p_.data(), gain_gradient_.data());
  AddDenseGradient(dense, p_.data(), static_cast<int64_t>(p_.size()), gain_gradient_.data());
}

double EvidenceNetwork::LossAndGradient(absl::Span<const int64_t> examples) {
  const int64_t size = static_cast<int64_t>(train_.size());
  const int64_t length = std::min<int64_t>(options_.context, size - 1), last = size - length - 1;
  const int64_t sequences = std::max<int64_t>(1, static_cast<int64_t>(examples.size()) / length);
  starts_.clear();
  // Where a sequence would reach past the end it begins earlier.
  for (int64_t s = 0; s < sequences; ++s) starts_.push_back(std::min(examples[s], last));
  std::sort(starts_.begin(), starts_.end());
  const bool joined = options_.join == Join::kProduct && !alone_;
  if (joined) {
    ReadGains(training_);
    std::fill(gain_gradient_.begin(), gain_gradient_.end(), 0.0);
  }
  // What is drawn follows from what the step is about, so that a resumed run draws the same.
  const double loss = network_->LossAndGradient(train_, starts_, length, examples[0],
                                                joined ? join_training_target_ : nullptr);
  if (!joined) return loss;
  if (training_.network != 1) {
    // So far it is with respect to the joint logits.
    for (float& g : arena().gradients()) g *= static_cast<float>(training_.network);
  }
  const absl::Span<float> of_gains = GainsIn(arena().gradients());
  const double scale = training_.evidence / static_cast<double>(sequences * length);
  for (size_t g = 0; g < of_gains.size(); ++g) {
    of_gains[g] = static_cast<float>(scale * gain_gradient_[g]);
  }
  return loss;
}

std::vector<double> EvidenceNetwork::NetworkNats(absl::Span<const int32_t> stream,
                                                 absl::Span<const int64_t> targets,
                                                 Counted counted) {
  PositionEvidence<float> evidence(evidence_.shape(), evidence_.tables(), stream, counted);
  DenseEvidence<float> dense(evidence_.shape(), evidence_.tables().dense, stream, counted);
  ReadGains(scoring_);
  std::vector<double> nats;
  nats.reserve(targets.size());
  network_->VisitLogits(stream, targets, [&](int64_t t, float* z) {
    if (options_.join == Join::kProduct) JoinEvidence(evidence.RowsOf(t), dense.At(t), z);
    nats.push_back(LogSumExp(z, static_cast<int64_t>(base_.size())) - z[stream[t]]);
  });
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

GainLoss EvidenceNetwork::LossAtScales(const Scales& scales, absl::Span<const int32_t> stream,
                                       absl::Span<const int64_t> targets) {
  PositionEvidence<float> rows(evidence_.shape(), evidence_.tables(), stream, Counted::kAsIs);
  DenseEvidence<float> dense(evidence_.shape(), evidence_.tables().dense, stream, Counted::kAsIs);
  // Logits of the evidence alone, and with unit gain.
  ReadGains({.evidence = 1, .network = 0});
  const auto vocab = static_cast<int64_t>(base_.size());
  const auto a = static_cast<float>(scales.evidence), b = static_cast<float>(scales.network);
  std::vector<float> evidence(base_.size()), p(base_.size());
  GainLoss sum;
  sum.gradient = Vector<double>::Zero(2);
  sum.hessian = Matrix<double>::Zero(2, 2);
  network_->VisitLogits(stream, targets, [&](int64_t t, float* network) {
    std::fill(evidence.begin(), evidence.end(), 0.0f);
    JoinEvidence(rows.RowsOf(t), dense.At(t), evidence.data());
    for (int64_t i = 0; i < vocab; ++i) p[i] = a * evidence[i] + b * network[i];
    sum.nats += LogSumExp(p.data(), vocab) - p[stream[t]];
    SoftmaxInPlace(p.data(), vocab);
    double e = 0, n = 0, ee = 0, en = 0, nn = 0;  // means under p
    for (int64_t i = 0; i < vocab; ++i) {
      const double pe = double{p[i]} * evidence[i], pn = double{p[i]} * network[i];
      e += pe;
      n += pn;
      ee += pe * evidence[i];
      en += pe * network[i];
      nn += pn * network[i];
    }
    sum.gradient[0] += e - evidence[stream[t]];
    sum.gradient[1] += n - network[stream[t]];
    sum.hessian(0, 0) += ee - e * e;
    sum.hessian(0, 1) += en - e * n;
    sum.hessian(1, 1) += nn - n * n;
  });
  sum.hessian(1, 0) = sum.hessian(0, 1);
  return sum;
}

void EvidenceNetwork::FitScales(absl::Span<const int32_t> stream,
                                absl::Span<const int64_t> targets) {
  CHECK(options_.join == Join::kProduct && !targets.empty());
  Vector<double> training(2);
  training << training_.evidence, training_.network;
  const BoundedProblem problem = {
      .at =
          [&](const Vector<double>& x, bool) {
            return LossAtScales({x[0], x[1]}, stream, targets);
          },
      .min = 0,
      .max = kScaleMax,
      .prior = training,
      .prior_weight = kScalePrior,
      .tolerance = kScaleTolerance * static_cast<double>(targets.size())};
  const BoundedMinimum fit = Minimize(problem, training);
  scoring_ = {.evidence = fit.x[0], .network = fit.x[1]};
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
