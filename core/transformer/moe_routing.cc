#include "core/transformer/moe_routing.h"

#include <algorithm>
#include <cmath>

namespace saffron {
namespace {

bool Takes(const MoeShape& moe, double gate, double uniform) {
  switch (moe.second) {
    case SecondPolicy::kAll:
      return true;
    case SecondPolicy::kNone:
      return false;
    case SecondPolicy::kThreshold:
      return gate > moe.threshold;
    case SecondPolicy::kRandom:
      return uniform < gate / moe.threshold;
  }
  return true;
}

// A full expert takes nobody any more.
void TakeSlot(int64_t capacity, int32_t* counts, MoeChoice& choice) {
  if (choice.slot == MoeChoice::kNotTaken) return;
  int32_t& count = counts[choice.expert];
  choice.slot = count < capacity ? count++ : MoeChoice::kDropped;
}

}  // namespace

double ChooseExperts(const MoeShape& moe, const double* logits, double* probabilities,
                     MoeChoice* choices) {
  const int experts = moe.experts, top = moe.top;
  const double largest = *std::max_element(logits, logits + experts);
  double sum = 0;
  for (int e = 0; e < experts; ++e) sum += probabilities[e] = std::exp(logits[e] - largest);
  for (int e = 0; e < experts; ++e) probabilities[e] /= sum;
  double selected = 0;
  for (int j = 0; j < top; ++j) {
    int best = -1;
    for (int e = 0; e < experts; ++e) {
      const auto same = [e](const MoeChoice& choice) { return choice.expert == e; };
      if (std::any_of(choices, choices + j, same)) continue;
      if (best < 0 || logits[e] > logits[best]) best = e;
    }
    const double gate =
        moe.gates == MoeGates::kAll ? probabilities[best] : std::exp(logits[best] - largest);
    choices[j] = {gate, best, MoeChoice::kDropped};
    selected += gate;
  }
  if (moe.gates == MoeGates::kSelected) {
    for (int j = 0; j < top; ++j) choices[j].gate /= selected;
  }
  return largest + std::log(sum);
}

void TakeSlots(const MoeShape& moe, int64_t n, int64_t capacity, const double* uniforms,
               const SlotScratch& scratch, MoeChoice* choices) {
  const int top = moe.top;
  std::fill_n(scratch.counts, moe.experts, 0);
  for (int64_t i = 0; i < n * top; ++i) {
    const bool takes = i % top == 0 || Takes(moe, choices[i].gate, uniforms[i]);
    choices[i].slot = takes ? MoeChoice::kDropped : MoeChoice::kNotTaken;
  }
  switch (moe.slots) {
    case SlotOrder::kTokenMajor:
      for (int64_t i = 0; i < n * top; ++i) TakeSlot(capacity, scratch.counts, choices[i]);
      return;
    case SlotOrder::kChoiceMajor:
      for (int j = 0; j < top; ++j) {
        for (int64_t t = 0; t < n; ++t) TakeSlot(capacity, scratch.counts, choices[t * top + j]);
      }
      return;
    case SlotOrder::kPriority:
      for (int64_t t = 0; t < n; ++t) scratch.order[t] = static_cast<int32_t>(t);
      std::sort(scratch.order, scratch.order + n, [&](int32_t a, int32_t b) {
        const double pa = scratch.first_probability[a], pb = scratch.first_probability[b];
        return pa != pb ? pa > pb : a < b;
      });
      for (int j = 0; j < top; ++j) {
        for (int64_t i = 0; i < n; ++i) {
          TakeSlot(capacity, scratch.counts, choices[scratch.order[i] * top + j]);
        }
      }
      return;
  }
}

}  // namespace saffron
