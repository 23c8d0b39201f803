#pragma once
// The step that adam and adamw share.
//   m <- b1 m + (1-b1) g;   v <- b2 v + (1-b2) g^2
//   p <- keep p - [lr / (1-b1^t)] m / (sqrt(v) / sqrt(1-b2^t) + epsilon)
// with keep = 1 - lr weight_decay (1 for adam). Kingma & Ba, ICLR 2015, algorithm 1.

#include <cmath>
#include <cstdint>

#include "core/optim/elementwise.h"
#include "core/optim/lane_update.h"
#include "core/optim/optimizer.h"

namespace saffron {

inline std::vector<StateSlot> AdamSlots() {
  return {{"m", StateKind::kFirst}, {"v", StateKind::kSecond}};
}

// The numbers of one step, folded in double before they are rounded to T.
template <typename T>
struct AdamStep {
  T beta1, one_minus_beta1, beta2, one_minus_beta2, minus_rate, root_scale, epsilon;

  AdamStep(const OptimizerConfig& c, int64_t step, double lr)
      : beta1(static_cast<T>(c.beta1)),
        one_minus_beta1(static_cast<T>(1 - c.beta1)),
        beta2(static_cast<T>(c.beta2)),
        one_minus_beta2(static_cast<T>(1 - c.beta2)),
        minus_rate(static_cast<T>(-lr / (1 - std::pow(c.beta1, static_cast<double>(step))))),
        root_scale(static_cast<T>(1 / std::sqrt(1 - std::pow(c.beta2, static_cast<double>(step))))),
        epsilon(static_cast<T>(c.epsilon)) {}
};

template <typename T>
void AdamUpdate(const AdamStep<T>& step, T keep, T* p, const T* g, T* m, T* v, int64_t n) {
  using S = Simd<T>;
  const auto beta1 = S::Broadcast(step.beta1), rest1 = S::Broadcast(step.one_minus_beta1);
  const auto beta2 = S::Broadcast(step.beta2), rest2 = S::Broadcast(step.one_minus_beta2);
  const auto minus_rate = S::Broadcast(step.minus_rate);
  const auto root_scale = S::Broadcast(step.root_scale), epsilon = S::Broadcast(step.epsilon);
  const auto kept = S::Broadcast(keep);
  ForEachLanes<T>(p, g, m, v, n, [=](T* p, const T* g, T* m, T* v) {
    const auto gradient = S::Load(g);
    const auto mean = S::MulAdd(beta1, S::Load(m), S::Mul(rest1, gradient));
    const auto square = S::MulAdd(beta2, S::Load(v), S::Mul(S::Mul(rest2, gradient), gradient));
    S::Store(m, mean);
    S::Store(v, square);
    const auto root = S::MulAdd(S::Sqrt(square), root_scale, epsilon);
    const auto decayed = S::Mul(kept, S::Load(p));
    S::Store(p, S::MulAdd(minus_rate, S::Div(mean, root), decayed));
  });
}

}  // namespace saffron
