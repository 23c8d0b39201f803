#pragma once
// Optimisers: one file each, found by name.
//
//   sgd        v <- momentum v + g + l2 p;  p <- p - lr v, or p - lr (g + l2 p + momentum v) with
//              Nesterov's look-ahead
//   adam       m <- b1 m + (1-b1) g;  v <- b2 v + (1-b2) g^2;
//              p <- p - lr (m / (1-b1^t)) / (sqrt(v / (1-b2^t)) + epsilon)
//              Kingma & Ba, "Adam: a method for stochastic optimization", ICLR 2015, algorithm 1.
//   adamw      p <- p - lr weight_decay p, then adam.
//              Loshchilov & Hutter, "Decoupled weight decay regularization", ICLR 2019, algorithm
//              2, with the decay multiplied by the whole rate lr (theirs: by the schedule's factor
//              alone), as most training code has it.
//   adafactor  squared gradients kept as row and column means: adafactor.cc
//   muon       hidden matrices move by their orthogonalised momentum, the rest by adamw: muon.cc
//
// The elementwise ones (sgd, adam, adamw) take one fused pass over parameter, gradient and state.
//
// A segment without a gradient (ParameterSegment::gradient null) is updated exactly as if its
// gradient were all zeros: moments decay, and the parameters still move by them. That is Adam as
// published, not the "lazy" variant that skips rows without a gradient. A tensor that no segment
// covers is frozen: neither it nor its state changes.

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "core/math/parameter_arena.h"

namespace saffron {

struct OptimizerConfig {
  double momentum = 0.9;       // sgd; in [0, 1)
  bool nesterov = false;       // sgd
  double l2 = 0;               // sgd; >= 0; on segments with `decay` alone
  double beta1 = 0.9;          // adam, adamw, muon; in [0, 1)
  double beta2 = 0.999;        // adam, adamw, muon; in [0, 1)
  double epsilon = 1e-8;       // adam, adamw, muon; > 0
  double weight_decay = 0.01;  // adamw, adafactor, muon; >= 0; on segments with `decay` alone

  // adafactor
  bool relative_step = false;    // the step's rate is min(0.01, 1 / sqrt(t)), and lr is not read
  bool scale_parameter = true;   // the rate is times max(0.001, RMS(p))
  double update_clip = 1;        // largest RMS of an update before the rate; > 0
  int64_t factored_min = 128;    // both sides of a factored matrix are at least this; >= 2
  double update_momentum = 0;    // decay of the mean update; 0: none; in [0, 1)
  double square_exponent = 0.8;  // squares decay by 1 - t^-this; in (0, 1]

  // muon
  double muon_momentum = 0.95;  // in [0, 1)
  double muon_rate = 1;         // learning rate of hidden matrices over that of the rest; > 0
};

// What an array of state does when a gradient is scaled by s: for whoever rescales parameters.
enum class StateKind : uint8_t {
  kFirst,   // a mean of gradients: times s
  kSecond,  // a mean of squared gradients: times s^2
  kUpdate,  // a mean of updates, which follow the parameter's own scale
};

// An array that later steps depend on, as checkpoints know it.
template <typename T>
struct StateArray {
  // Where its elements stand in `values`. The name is the model's tensor's (empty when the model
  // names none: all parameters), the shape too, but for what stands for whole rows ([rows, 1]) and
  // columns ([1, cols]).
  ParameterTensor tensor;
  std::string slot;  // "m", "v", "momentum", "row", "column", ...
  StateKind kind;
  absl::Span<T> values;  // in the optimiser's memory; padding is zero
};

// One run of one optimiser: counts its own steps, owns its state. Not thread-safe.
template <typename T>
class Optimizer {
 public:
  virtual ~Optimizer() = default;

  // Allocates the state for the arena's parameters and tensors(), all zero; once, before anything
  // else. Nothing is allocated afterwards. RESOURCE_EXHAUSTED when there is no memory,
  // FAILED_PRECONDITION when the optimiser looks at tensors and the model names none.
  absl::Status Prepare(const ParameterArena<T>& arena);

  // Whether parameters of segments with `decay` shrink at every step.
  virtual bool decays() const { return false; }

  // One update of every segment with learning rate `lr` (finite, >= 0).
  void Step(ParameterArena<T>& arena, double lr);

  int64_t steps_done() const { return steps_; }

  // Everything beside the parameters that later steps depend on: with the same steps_done(), state
  // and parameters, two optimisers of one configuration go on alike, bit for bit. After Prepare;
  // the same arrays in the same order in every run of a variant. Write into `values` to restore.
  virtual std::vector<StateArray<T>> State() = 0;
  void RestoreSteps(int64_t steps_done) { steps_ = steps_done; }

 protected:
  virtual absl::Status Allocate(const ParameterArena<T>& arena) = 0;
  // `step` counts from 1.
  virtual void Update(ParameterArena<T>& arena, int64_t step, double lr) = 0;

 private:
  int64_t steps_ = 0;
  int64_t parameters_ = -1;  // that state was allocated for
};

// `name` is one of OptimizerNames(). INVALID_ARGUMENT names an unknown optimiser or a setting out
// of range. Instantiated for float and double.
template <typename T>
absl::StatusOr<std::unique_ptr<Optimizer<T>>> MakeOptimizer(const std::string& name,
                                                            const OptimizerConfig& config);

std::vector<std::string> OptimizerNames();

// L2 norm of all gradients together, accumulated in double in a fixed order.
template <typename T>
double GlobalNorm(const ParameterArena<T>& arena);

// Scales the gradients down to global norm `norm_max` > 0 where they are longer (by norm_max /
// (norm + 1e-6), as is customary); returns the norm before. Pascanu et al., "On the difficulty of
// training recurrent neural networks", ICML 2013, section 3.2.
template <typename T>
double ClipGlobalNorm(ParameterArena<T>& arena, double norm_max);

}  // namespace saffron
