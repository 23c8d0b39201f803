// A feed-forward network to be joined: every target after the `context` tokens before it, hidden
// layers twice as wide as embeddings.

#include <algorithm>
#include <vector>

#include "core/base/status_macros.h"
#include "core/train/joined_network.h"
#include "core/transformer/feed_forward_network.h"

namespace saffron {
namespace {

// Targets whose contexts are gathered together to be evaluated.
constexpr size_t kEvaluatedTogether = 768;

class JoinedFeedForward final : public JoinedNetwork {
 public:
  JoinedFeedForward(const Options& options, std::unique_ptr<FeedForwardNetwork<float>> network)
      : options_(options), network_(std::move(network)) {}

  double LossAndGradient(absl::Span<const int32_t> stream, absl::Span<const int64_t> starts,
                         int64_t length, int64_t draw, const OnLogits& on_logits) override {
    targets_.clear();
    contexts_.clear();
    const auto target_of = [&](int64_t row) { return starts[row / length] + 1 + row % length; };
    for (int64_t row = 0; row < static_cast<int64_t>(starts.size()) * length; ++row) {
      targets_.push_back(stream[target_of(row)]);
      AddContext(stream, target_of(row));
    }
    const auto visit = [&](int64_t first, int64_t rows, Rows<float> z) {
      for (int64_t r = 0; r < rows; ++r) on_logits(target_of(first + r), z.row(r));
    };
    FeedForwardNetwork<float>::OnLogits on_rows;
    if (on_logits != nullptr) on_rows = std::cref(visit);
    return network_->LossAndGradient(contexts_, targets_, draw, on_rows);
  }

  void VisitLogits(absl::Span<const int32_t> stream, absl::Span<const int64_t> targets,
                   const OnLogits& visit) override {
    for (size_t begin = 0; begin < targets.size(); begin += kEvaluatedTogether) {
      const auto part = targets.subspan(begin, kEvaluatedTogether);
      contexts_.clear();
      for (const int64_t t : part) AddContext(stream, t);
      network_->VisitLogits(contexts_, [&](int64_t first, int64_t rows, Rows<float> z) {
        for (int64_t r = 0; r < rows; ++r) visit(part[first + r], z.row(r));
      });
    }
  }

  ParameterArena<float>& arena() override { return network_->arena(); }
  int64_t parameters() const override { return network_->parameters(); }

 private:
  void AddContext(absl::Span<const int32_t> stream, int64_t t) {
    for (int64_t lag = 1; lag <= options_.context; ++lag) {
      contexts_.push_back(t < lag ? -1 : stream[t - lag]);
    }
  }

  const Options options_;
  const std::unique_ptr<FeedForwardNetwork<float>> network_;
  std::vector<int32_t> contexts_, targets_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<JoinedNetwork>> MakeJoinedFeedForward(
    const JoinedNetwork::Options& options) {
  ASSIGN_OR_RETURN(auto network, FeedForwardNetwork<float>::Create({.vocab = options.vocab,
                                                                    .context = options.context,
                                                                    .width = options.width,
                                                                    .layers = options.layers,
                                                                    .hidden = 2 * options.width,
                                                                    .tied = options.tied},
                                                                   {.dropout = options.dropout,
                                                                    .seed = options.seed,
                                                                    .beside = options.beside}));
  return std::make_unique<JoinedFeedForward>(options, std::move(network));
}

}  // namespace saffron
