#include "core/train/trained_rows.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "core/base/status_macros.h"
#include "core/layers/softmax_loss.h"
#include "core/math/exp.h"

namespace saffron {
TrainedRows::TrainedRows(const LogLinearModel& model, absl::Span<const int32_t> train)
    : model_(model),
      train_(train),
      left_out_(model.shape(), model.tables(), train, Counted::kLeftOut) {}

absl::StatusOr<std::unique_ptr<TrainedPart>> TrainedRows::Create(LogLinearModel& model,
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

void TrainedRows::Correct(absl::Span<const EvidenceRow<float>> rows, float* z) const {
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
  const int64_t vocab = model_.tables().vocab();
  double nats = 0;
  const auto add_target = [&](size_t n, auto rows, auto, float* z) {
    Correct(rows, z);
    nats += SoftmaxGradientInPlace(z, vocab, train_[targets_[n]], scale);
    for (const EvidenceRow<float>& row : rows) {
      if (row.node < 0) continue;
      const float lambda = static_cast<float>(model_.gains()[row.lambda]);
      float* const to = gradient.data() + begin_[row.node];
      for (size_t j = 0; j < row.type.size(); ++j) to[row.EntryOf(j)] += lambda * z[row.type[j]];
    }
  };
  left_out_.ForEach(absl::MakeConstSpan(targets_), model_.gains(), add_target);
  return nats / static_cast<double>(targets_.size());
}

std::vector<double> TrainedRows::Nats(absl::Span<const int32_t> stream,
                                      absl::Span<const int64_t> targets, Counted counted) {
  EvidenceLogits<float> logits(model_.shape(), model_.tables(), stream, counted);
  std::vector<double> nats;
  nats.reserve(targets.size());
  logits.ForEach(targets, model_.gains(), [&](size_t n, auto rows, auto, float* z) {
    Correct(rows, z);
    nats.push_back(LogSumExp(z, model_.tables().vocab()) - z[stream[targets[n]]]);
  });
  return nats;
}

}  // namespace saffron
