#include "core/train/polish.h"

#include <algorithm>
#include <vector>

#include "absl/strings/str_cat.h"
#include "core/base/status_macros.h"
#include "core/optim/lbfgs.h"
#include "core/optim/parameter_groups.h"
#include "core/train/backprop.h"
#include "core/train/batch_order.h"

namespace saffron {
namespace {

// The chosen stretches of an arena as one vector of doubles, and the loss of the sample as its
// function. The model computes in float; sums over chunks, curvature and steps are double.
class SampleLoss {
 public:
  SampleLoss(Trainable& model, std::vector<ParameterTensor> tensors, std::vector<int64_t> examples,
             int64_t chunk)
      : model_(model), tensors_(std::move(tensors)), examples_(std::move(examples)), chunk_(chunk) {
    for (const ParameterTensor& tensor : tensors_) size_ += tensor.stored();
  }

  int64_t evaluated() const { return evaluated_; }

  std::vector<double> Read() const {
    std::vector<double> x;
    x.reserve(static_cast<size_t>(size_));
    const auto parameters = model_.arena().parameters();
    for (const ParameterTensor& tensor : tensors_) {
      const auto from = parameters.begin() + tensor.begin;
      x.insert(x.end(), from, from + tensor.size());
    }
    return x;
  }

  void Write(absl::Span<const double> x) {
    const double* from = x.data();
    const auto parameters = model_.arena().parameters();
    for (const ParameterTensor& tensor : tensors_) {
      for (int64_t i = 0; i < tensor.stored(); ++i) {
        parameters[tensor.begin + i] = static_cast<float>(*from++);
      }
    }
  }

  double operator()(absl::Span<const double> x, absl::Span<double> gradient) {
    Write(x);
    std::fill(gradient.begin(), gradient.end(), 0.0);
    const absl::Span<const int64_t> all = examples_;
    const double n = static_cast<double>(all.size());
    double loss = 0;
    for (size_t begin = 0; begin < all.size(); begin += static_cast<size_t>(chunk_)) {
      const auto part = all.subspan(begin, static_cast<size_t>(chunk_));
      const double share = static_cast<double>(part.size()) / n;
      loss += share * model_.LossAndGradient(part);
      AddGradient(share, gradient.data());
    }
    evaluated_ += static_cast<int64_t>(all.size()) * model_.targets_per_example();
    return loss;
  }

 private:
  // Adds `share` times the gradient of the chosen tensors.
  void AddGradient(double share, double* to) const {
    for (const ParameterTensor& tensor : tensors_) {
      const int64_t end = tensor.begin + tensor.stored();
      for (const ParameterSegment<float>& segment : model_.arena().segments()) {
        if (segment.gradient == nullptr) continue;
        const int64_t from = std::max(tensor.begin, segment.begin);
        const int64_t past = std::min(end, segment.begin + segment.size);
        const float* g = segment.gradient - segment.begin;
        for (int64_t i = from; i < past; ++i) to[i - tensor.begin] += share * g[i];
      }
      to += tensor.stored();
    }
  }

  Trainable& model_;
  const std::vector<ParameterTensor> tensors_;
  const std::vector<int64_t> examples_;
  const int64_t chunk_;
  int64_t size_ = 0, evaluated_ = 0;
};

absl::StatusOr<std::vector<ParameterTensor>> Chosen(const ResolvedVariant& variant,
                                                    const std::vector<ParameterTensor>& tensors) {
  const std::string& list = variant.String("train.polish_on");
  ASSIGN_OR_RETURN(const TensorPatterns patterns, TensorPatterns::Parse(list));
  const absl::StatusOr<std::vector<bool>> chosen = patterns.Choose(tensors);
  if (!chosen.ok()) {
    return absl::Status(chosen.status().code(),
                        absl::StrCat("train.polish_on: ", chosen.status().message()));
  }
  std::vector<ParameterTensor> result;
  for (size_t i = 0; i < tensors.size(); ++i) {
    if ((*chosen)[i]) result.push_back(tensors[i]);
  }
  if (!result.empty()) return result;
  return absl::InvalidArgumentError(
      absl::StrCat("train.polish_on: want tensors to polish, got \"", list, "\", which is none"));
}

}  // namespace

absl::StatusOr<PolishReport> Polish(const TrialInputs& inputs, Trainable& model,
                                    MeasurementSink& sink) {
  const ResolvedVariant& variant = inputs.variant;
  ASSIGN_OR_RETURN(const std::vector<ParameterTensor> tensors,
                   Chosen(variant, model.arena().tensors()));
  // The sample is where a permutation of its own begins, so that it is spread over the text.
  const int64_t wanted = variant.Int("train.polish_examples") / model.targets_per_example();
  const int64_t count = std::clamp<int64_t>(wanted, 1, model.examples());
  std::vector<int64_t> examples;
  BatchOrder(inputs.seed, model.examples()).Batch(0, count, &examples);
  model.BeginStep(0);
  SampleLoss loss(model, tensors, std::move(examples),
                  std::max<int64_t>(1, LargestBatch(variant) / model.targets_per_example()));

  std::vector<double> x = loss.Read();
  std::vector<double> best = x;
  PolishReport report;
  for (const ParameterTensor& tensor : tensors) report.parameters += tensor.size();
  const auto curve_nats = [&] {
    const Evaluation curve = model.EvaluateCurve();
    report.evaluated_targets += curve.targets;
    return curve.nats_per_target();
  };
  double best_nats = curve_nats();
  sink.Record({"polish/valid_nats_per_token", 0, best_nats});

  LbfgsOptions options;
  options.iterations_max = variant.Int("train.polish");
  options.go_on = [&](int64_t iteration, double value) {
    if (inputs.stopped()) return false;
    sink.Record({"polish/loss", iteration, value});
    loss.Write(x);
    const double nats = curve_nats();
    sink.Record({"polish/valid_nats_per_token", iteration, nats});
    if (nats < best_nats) {
      best_nats = nats;
      best = x;
      report.best_iteration = iteration;
    }
    return true;
  };
  ASSIGN_OR_RETURN(const LbfgsReport found,
                   MinimizeLbfgs(std::ref(loss), absl::MakeSpan(x), options));
  if (inputs.stopped()) return absl::CancelledError("stopped while polishing");
  loss.Write(best);
  report.iterations = found.iterations;
  report.start_loss = found.start;
  report.loss = found.value;
  report.trained_targets = loss.evaluated();
  return report;
}

}  // namespace saffron
