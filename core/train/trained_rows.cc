#include "core/train/trained_rows.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "core/base/status_macros.h"
#include "core/layers/softmax_loss.h"
#include "core/math/exp.h"

namespace saffron {
namespace {

// Calls f(t, rows, dense rows) for all targets.
template <typename F>
void ForTargets(absl::Span<const int64_t> targets, PositionEvidence<float>& evidence,
                DenseEvidence<float>& dense, F f) {
  constexpr size_t kTogether = DenseEvidence<float>::kTogether;
  for (size_t n = 0; n < targets.size(); ++n) {
    if (n % kTogether == 0) dense.Load(targets.subspan(n, kTogether));
    f(targets[n], evidence.RowsOf(targets[n]), dense.RowsOf(static_cast<int64_t>(n % kTogether)));
  }
}

}  // namespace

TrainedRows::TrainedRows(const LogLinearModel& model, absl::Span<const int32_t> train)
    : model_(model),
      train_(train),
      base_(BaseLogits(model.shape(), model.tables(), model.gains())),
      left_out_(model.shape(), model.tables(), train, Counted::kLeftOut),
      dense_left_out_(model.shape(), model.tables().dense, train, Counted::kLeftOut),
      z_(base_.size()) {}

absl::StatusOr<std::unique_ptr<TrainedRows>> TrainedRows::Create(const LogLinearModel& model,
                                                                 absl::Span<const int32_t> train) {
  std::unique_ptr<TrainedRows> made(new TrainedRows(model, train));
  std::vector<ParameterTensor> tensors;
  int64_t size = 0;
  for (size_t n = 0; n < model.shape().nodes.size(); ++n) {
    const LevelNode& node = model.shape().nodes[n];
    made->begin_.push_back(node.lambda < 0 ? -1 : size);
    if (node.lambda < 0) continue;
    tensors.push_back({.name = absl::StrCat("rows.", node.level.lags.Name()),
                       .begin = size,
                       .cols = model.tables().tables[n].entries(),
                       .role = TensorRole::kEmbedding});
    size += tensors.back().size();
  }
  ASSIGN_OR_RETURN(made->arena_,
                   ParameterArena<float>::Create({.parameters = size, .gradients = size}));
  made->arena_.segments().push_back(
      {.begin = 0, .size = size, .gradient = made->arena_.gradients().data(), .decay = true});
  made->arena_.tensors() = std::move(tensors);
  return made;
}

void TrainedRows::LogitsOf(absl::Span<const EvidenceRow<float>> rows,
                           absl::Span<const DenseRow<float>> dense, float* z) const {
  std::copy(base_.begin(), base_.end(), z);
  AddRows(rows, model_.gains(), z);
  AddDenseRows(dense, model_.gains(), static_cast<int64_t>(z_.size()), z);
  for (const EvidenceRow<float>& row : rows) {
    if (row.node < 0) continue;
    const float lambda = static_cast<float>(model_.gains()[row.lambda]);
    const float* const correction = arena_.parameters().data() + begin_[row.node];
    for (size_t j = 0; j < row.type.size(); ++j) {
      z[row.type[j]] += lambda * correction[row.EntryOf(j)];
    }
  }
}

double TrainedRows::LossAndGradient(absl::Span<const int64_t> examples) {
  targets_.assign(examples.begin(), examples.end());
  std::sort(targets_.begin(), targets_.end());
  const absl::Span<float> gradient = arena_.gradients();
  std::fill(gradient.begin(), gradient.end(), 0.0f);
  const float scale = static_cast<float>(1.0 / static_cast<double>(targets_.size()));
  double nats = 0;
  ForTargets(targets_, left_out_, dense_left_out_, [&](int64_t t, auto rows, auto dense) {
    LogitsOf(rows, dense, z_.data());
    nats += SoftmaxGradientInPlace(z_.data(), static_cast<int64_t>(z_.size()), train_[t], scale);
    for (const EvidenceRow<float>& row : rows) {
      if (row.node < 0) continue;
      const float lambda = static_cast<float>(model_.gains()[row.lambda]);
      float* const to = gradient.data() + begin_[row.node];
      for (size_t j = 0; j < row.type.size(); ++j) to[row.EntryOf(j)] += lambda * z_[row.type[j]];
    }
  });
  return nats / static_cast<double>(targets_.size());
}

std::vector<double> TrainedRows::Nats(absl::Span<const int32_t> stream,
                                      absl::Span<const int64_t> targets, Counted counted) {
  PositionEvidence<float> evidence(model_.shape(), model_.tables(), stream, counted);
  DenseEvidence<float> of_dense(model_.shape(), model_.tables().dense, stream, counted);
  std::vector<double> nats;
  nats.reserve(targets.size());
  ForTargets(targets, evidence, of_dense, [&](int64_t t, auto rows, auto dense) {
    LogitsOf(rows, dense, z_.data());
    nats.push_back(LogSumExp(z_.data(), static_cast<int64_t>(z_.size())) - z_[stream[t]]);
  });
  return nats;
}

}  // namespace saffron
