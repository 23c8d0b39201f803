#pragma once
// A network over the tokens before a target, to whose logits those of another model are added
// before the softmax. One file a network; evidence_network.cc lists them by name.

#include <cstdint>
#include <functional>
#include <memory>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "core/data/data_store.h"
#include "core/math/parameter_arena.h"
#include "core/solve/statistics_cache.h"

namespace saffron {

// Not thread-safe. Same inputs, same bits.
class JoinedNetwork {
 public:
  struct Options {
    int vocab = 0;
    int width = 128, layers = 2, context = 64;
    double dropout = 0.1;
    bool tied = true;  // the readout is the embedding
    uint64_t seed = 0;
    // Of networks that are solved before they are trained.
    const TextDataset* data = nullptr;
    StatisticsCache* statistics = nullptr;
    // A vector of the other model that is trained along, the last of arena().tensors(): its name
    // and its columns. None: no columns.
    ParameterTensor beside = {};
  };
  // Is given z[vocab], the logits of target t, and may change them.
  using OnLogits = std::function<void(int64_t t, float* z)>;

  virtual ~JoinedNetwork() = default;

  // Mean loss of the targets stream[t], for each start those at start + 1 to start + length, after
  // `on_logits` (in this order; null: as they are). Its gradient is left in arena(), all but that
  // of Options::beside. `draw` chooses what is drawn anew at every step. length <= context.
  virtual double LossAndGradient(absl::Span<const int32_t> stream, absl::Span<const int64_t> starts,
                                 int64_t length, int64_t draw, const OnLogits& on_logits) = 0;
  // Calls `visit` for every one of ascending `targets` of the stream, in order; none is the first
  // token. Nothing is drawn.
  virtual void VisitLogits(absl::Span<const int32_t> stream, absl::Span<const int64_t> targets,
                           const OnLogits& visit) = 0;

  virtual ParameterArena<float>& arena() = 0;
  virtual int64_t parameters() const = 0;  // its own
};

// RESOURCE_EXHAUSTED when there is no memory; of one that is solved, errors of its solution.
absl::StatusOr<std::unique_ptr<JoinedNetwork>> MakeJoinedFeedForward(
    const JoinedNetwork::Options& options);
absl::StatusOr<std::unique_ptr<JoinedNetwork>> MakeJoinedSaffu(
    const JoinedNetwork::Options& options);
absl::StatusOr<std::unique_ptr<JoinedNetwork>> MakeJoinedTransformer(
    const JoinedNetwork::Options& options);

}  // namespace saffron
