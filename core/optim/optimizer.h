#pragma once
// Optimisers: one file each, found by name. Each step is one fused pass over parameter, gradient
// and moments.
//
//   sgd    v <- momentum v + g;  p <- p - lr v
//   adam   m <- b1 m + (1-b1) g;  v <- b2 v + (1-b2) g^2;
//          p <- p - lr (m / (1-b1^t)) / (sqrt(v / (1-b2^t)) + epsilon)
//          Kingma & Ba, "Adam: a method for stochastic optimization", ICLR 2015, algorithm 1.
//   adamw  p <- p - lr weight_decay p, then adam.
//          Loshchilov & Hutter, "Decoupled weight decay regularization", ICLR 2019, algorithm 2,
//          with the decay multiplied by the whole rate lr (theirs: by the schedule's factor alone),
//          as most training code has it.
//
// A segment without a gradient (ParameterSegment::gradient null) is updated exactly as if its
// gradient were all zeros: moments decay, and the parameters still move by them. That is Adam as
// published, not the "lazy" variant that skips rows without a gradient.

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "core/math/parameter_arena.h"

namespace saffron {

struct OptimizerConfig {
  double momentum = 0.9;       // sgd; in [0, 1)
  double beta1 = 0.9;          // adam, adamw; in [0, 1)
  double beta2 = 0.999;        // adam, adamw; in [0, 1)
  double epsilon = 1e-8;       // adam, adamw; > 0
  double weight_decay = 0.01;  // adamw; >= 0; on segments with `decay` alone
};

// One run of one optimiser: counts its own steps. Not thread-safe.
template <typename T>
class Optimizer {
 public:
  virtual ~Optimizer() = default;

  // Arrays of state it needs beside each parameter: ParameterArena::Sizes::moments.
  virtual int moments() const = 0;

  // Whether parameters of segments with `decay` shrink at every step.
  virtual bool decays() const { return false; }

  // One update of every segment with learning rate `lr` (finite, >= 0). The arena must have
  // moments() arrays, zero before the first step.
  void Step(ParameterArena<T>& arena, double lr);

  int64_t steps_done() const { return steps_; }
  // Goes on after `steps` steps of an earlier run, whose moments are in the arena again.
  void ResumeAt(int64_t steps) { steps_ = steps; }

 protected:
  // What Update needs of the step: number from 1, and rate.
  virtual void Begin(int64_t step, double lr) = 0;
  // p[n] and the moments' same stretch (moment[i] for i < moments()); g[n] may be null: zeros.
  virtual void Update(T* p, const T* g, T* const* moment, int64_t n, bool decay) = 0;

 private:
  int64_t steps_ = 0;
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
