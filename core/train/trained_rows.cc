// Every stored R_h[i] gets a correction d_h[i]:
//
//   z = z_evidence + sum_k lambda_k d_k[h_k, i]   over the entries that a position's rows have,
//   dL/d d_k[h, i] = lambda_k (p_i - y_i), summed over the targets of context h, over their number.
//
// Targets are left out of the counts that they are trained on, and an entry that rests on the
// target alone is not there to be trained. That keeps what is learnt about one entry from its
// neighbours in the softmax apart from what was counted, but leaving out is unbiased only for
// parameters that many entries share: summed over a text, the gradient of a single entry draws one
// seen once down and one seen more often up, towards the text's own frequencies. So few and small
// steps help; many would learn the text by heart.

#include "absl/strings/str_cat.h"
#include "core/layers/softmax_loss.h"
#include "core/log_linear/evidence_logits.h"
#include "core/math/exp.h"
#include "core/train/trained_solution.h"

namespace saffron {
namespace {

class Rows : public TrainedSolution {
 public:
  Rows(const LogLinearModel& model, absl::Span<const int32_t> train)
      : model_(model),
        train_(train),
        left_out_(model.shape(), model.tables(), train, Counted::kLeftOut) {}

  absl::Status Start() {
    const std::vector<LevelNode>& nodes = model_.shape().nodes;
    std::vector<ParameterTensor> tensors;
    for (size_t n = 0; n < nodes.size(); ++n) {
      if (nodes[n].lambda < 0) continue;
      tensors.push_back({.name = absl::StrCat("rows.", nodes[n].level.lags.Name()),
                         .cols = model_.tables().tables[n].entries(),
                         .role = TensorRole::kEmbedding});
    }
    RETURN_IF_ERROR(Allocate(std::move(tensors), /*decay=*/true));
    auto tensor = arena_.tensors().begin();
    for (const LevelNode& node : nodes) {
      begin_.push_back(node.lambda < 0 ? -1 : (tensor++)->begin);
    }
    return absl::OkStatus();
  }

  double LossAndGradient(absl::Span<const int64_t> examples) override {
    const absl::Span<const int64_t> targets = Ascending(examples);
    const absl::Span<float> gradient = arena_.gradients();
    std::fill(gradient.begin(), gradient.end(), 0.0f);
    const float scale = static_cast<float>(1.0 / static_cast<double>(targets.size()));
    const int64_t vocab = model_.tables().vocab();
    double nats = 0;
    const auto add_target = [&](size_t n, auto rows, auto, float* z) {
      Correct(rows, z);
      nats += SoftmaxGradientInPlace(z, vocab, train_[targets[n]], scale);
      for (const EvidenceRow<float>& row : rows) {
        if (row.node < 0) continue;
        const float lambda = static_cast<float>(model_.gains()[row.lambda]);
        float* const to = gradient.data() + begin_[row.node];
        for (size_t j = 0; j < row.type.size(); ++j) to[row.EntryOf(j)] += lambda * z[row.type[j]];
      }
    };
    left_out_.ForEach(targets, model_.gains(), add_target);
    return nats / static_cast<double>(targets.size());
  }

  std::vector<double> Nats(absl::Span<const int32_t> stream, absl::Span<const int64_t> targets,
                           Counted counted) override {
    EvidenceLogits<float> logits(model_.shape(), model_.tables(), stream, counted);
    std::vector<double> nats;
    nats.reserve(targets.size());
    logits.ForEach(targets, model_.gains(), [&](size_t n, auto rows, auto, float* z) {
      Correct(rows, z);
      nats.push_back(LogSumExp(z, model_.tables().vocab()) - z[stream[targets[n]]]);
    });
    return nats;
  }

 private:
  // Adds the corrections of these rows to z[V].
  void Correct(absl::Span<const EvidenceRow<float>> rows, float* z) const {
    for (const EvidenceRow<float>& row : rows) {
      if (row.node < 0) continue;
      const float lambda = static_cast<float>(model_.gains()[row.lambda]);
      const float* const correction = arena_.parameters().data() + begin_[row.node];
      for (size_t j = 0; j < row.type.size(); ++j) {
        z[row.type[j]] += lambda * correction[row.EntryOf(j)];
      }
    }
  }

  const LogLinearModel& model_;
  const absl::Span<const int32_t> train_;
  EvidenceLogits<float> left_out_;
  std::vector<int64_t> begin_;  // by node: of its tensor; -1: it has none
};

}  // namespace

absl::StatusOr<std::unique_ptr<TrainedPart>> TrainedRows(LogLinearModel& model,
                                                         absl::Span<const int32_t> train) {
  auto rows = std::make_unique<Rows>(model, train);
  RETURN_IF_ERROR(rows->Start());
  return rows;
}

}  // namespace saffron
