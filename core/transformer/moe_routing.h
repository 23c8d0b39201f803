#pragma once
// Which experts a token goes to, and which of these take it: pure functions of the router's
// logits, in double whatever the model computes in, because a gate depends on differences of
// exponentials.

#include <cstdint>

#include "core/transformer/moe_shape.h"

namespace saffron {

// One choice of a token. Trivial: lies in the workspace.
struct MoeChoice {
  enum Slot : int32_t { kDropped = -1, kNotTaken = -2 };
  double gate;     // G; of dropped choices too: gates are not renormalised
  int32_t expert;  // in descending order of logit; of equal ones, the lowest index first
  int32_t slot;    // of the expert, in 0..capacity-1, or one of Slot

  bool taken() const { return slot != kNotTaken; }
  bool kept() const { return slot >= 0; }
};

// Experts and gates of one token: the moe.top largest of logits[moe.experts], and, of all of them,
// probabilities[moe.experts] and the return value, logsumexp.
double ChooseExperts(const MoeShape& moe, const double* logits, double* probabilities,
                     MoeChoice* choices);

// What TakeSlots works in.
struct SlotScratch {
  int32_t* counts = nullptr;  // [moe.experts]
  // SlotOrder::kPriority alone: [n], and the probability of each token's first choice, no NaN.
  int32_t* order = nullptr;
  const double* first_probability = nullptr;
};

// Slots for the tokens of a sequence: choices[n * moe.top], the first of each token always taken,
// later ones as moe.second says; uniforms[n * moe.top] in [0, 1) decide SecondPolicy::kRandom
// (those of first choices are not read).
void TakeSlots(const MoeShape& moe, int64_t n, int64_t capacity, const double* uniforms,
               const SlotScratch& scratch, MoeChoice* choices);

}  // namespace saffron
