#pragma once
// Which tensors an optimiser may change, and which of them decay: rules over the names and roles
// that a model gives its tensors.

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "core/math/parameter_arena.h"

namespace saffron {

// Which tensors weight decay (or an L2 penalty) applies to.
enum class DecayRule : uint8_t {
  kMatrices,  // those that the model marks: all but vectors (biases, gains, scores)
  kHidden,    // hidden matrices alone: not embeddings, not readouts
  kAll,
};

// A list of patterns over tensors, as users write it: "layers.0.*, embedding, !*.attn.wq". An entry
// is a role (hidden, embedding, readout, vector) or a name in which * stands for any characters; !
// takes back what entries before it chose.
class TensorPatterns {
 public:
  // INVALID_ARGUMENT for an empty entry, naming its position in the list.
  static absl::StatusOr<TensorPatterns> Parse(const std::string& list);

  bool empty() const { return entries_.empty(); }
  // By position in `tensors`, whether the list chooses it. INVALID_ARGUMENT when an entry fits no
  // tensor: names it and the tensors there are.
  absl::StatusOr<std::vector<bool>> Choose(const std::vector<ParameterTensor>& tensors) const;

 private:
  struct Entry {
    std::string text;
    bool takes_back = false;
  };
  std::vector<Entry> entries_;
};

// Applied to an arena's segments after every backward pass: frozen tensors leave the list, so that
// clipping and the optimiser do not see them; `decay` follows the rule. Instantiated for float and
// double.
template <typename T>
class ParameterGroups {
 public:
  // Nothing frozen, decay as the model has it.
  ParameterGroups() = default;
  // INVALID_ARGUMENT: a pattern that fits nothing, or nothing left to train. FAILED_PRECONDITION:
  // rules for a model that names no tensors.
  static absl::StatusOr<ParameterGroups> Make(const std::vector<ParameterTensor>& tensors,
                                              const TensorPatterns& freeze, DecayRule decay);

  // Cuts segments at the borders of groups. Doing it twice is doing it once.
  void Apply(ParameterArena<T>& arena);

  int64_t frozen_parameters() const { return frozen_parameters_; }

 private:
  // Neighbouring tensors that are treated alike.
  struct Stretch {
    int64_t begin, end;
    bool frozen;
    bool sets_decay, decay;
  };
  std::vector<Stretch> stretches_;  // all parameters; empty: no rules
  int64_t frozen_parameters_ = 0;
  std::vector<ParameterSegment<T>> cut_;  // kept, so that later steps allocate nothing
};

}  // namespace saffron
