#pragma once
// What a sparse layer is made of: E experts, MLPs of equal size, of which a router picks the top m
// for every token.
//   Zoph et al., "ST-MoE: Designing stable and transferable sparse expert models",
//   arXiv:2202.08906; top-1: Fedus et al., "Switch transformers", JMLR 2022.

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"

namespace saffron {

// What weighs the output of a chosen expert.
enum class MoeGates : uint8_t {
  kSelected,  // softmax over the logits of the chosen experts alone: they sum to 1
  kAll,       // softmax over all experts: lets a router learn that has one choice (Switch)
};
// Whether choices after the first are taken; G is the choice's gate.
enum class SecondPolicy : uint8_t {
  kAll,
  kNone,
  kThreshold,  // where G > threshold
  kRandom,     // with probability min(1, G / threshold)
};
// Who gets the slots of an expert that too many tokens chose. The others are dropped.
enum class SlotOrder : uint8_t {
  kTokenMajor,   // token by token: no token depends on a later one
  kChoiceMajor,  // all first choices, then all second ones, which so depend on later tokens
  kPriority,     // choice-major over tokens by falling probability of their first choice ("batch
                 // prioritized routing"): depends on later tokens by construction
};
// An extra dense MLP next to the sparse one, with its own norm and residual.
enum class DensePlace : uint8_t { kNone, kBefore, kAfter };

struct MoeShape {
  int experts = 0;  // E; 0: the layer is dense, and nothing below matters
  int top = 2;      // m, choices of a token; at most E
  // An expert takes at most ExpertCapacity of a sequence's choices.
  double capacity_factor = 1.25, eval_capacity_factor = 2.0;
  MoeGates gates = MoeGates::kSelected;
  SecondPolicy second = SecondPolicy::kRandom;
  double threshold = 0.2;
  SlotOrder slots = SlotOrder::kTokenMajor;
  DensePlace dense = DensePlace::kNone;

  bool sparse() const { return experts > 0; }
};

// What concerns training alone.
struct MoeTraining {
  double z_loss = 1e-3;        // c_z, of the mean of logsumexp(router logits)^2
  double balance_loss = 1e-2;  // c_B, of E sum_e (share of first choices) (mean probability)
  double jitter = 0;           // router logits times U[1 - jitter, 1 + jitter]; in [0, 1)
  double expert_dropout = 0;   // of the experts' hidden units; in [0, 1)
};

// Slots of an expert for a sequence of n tokens: max(min(n, floor(n factor / experts)), 4). Not
// multiplied by m, so that top-2 at factor 1.25 holds 1.25 choices a token.
int64_t ExpertCapacity(int64_t n, int experts, double factor);

// INVALID_ARGUMENT naming what cannot be. `name`: of the layer, "layers.3."; `context`: longest
// sequence; `causal`: whether the model is a decoder.
absl::Status CheckMoe(const std::string& name, const MoeShape& moe, int64_t context, bool causal);

// Where the tensors of an MLP begin in the arena; -1 where it has none.
struct MlpPlaces {
  int64_t w1 = -1, w1_linear = -1, w2 = -1, b1 = -1, b1_linear = -1, b2 = -1, unit_bias = -1;
};

// Where those of a sparse layer do.
struct MoePlaces {
  int64_t router = -1;  // [h, E]
  std::vector<MlpPlaces> experts;
  int64_t dense_gain = -1, dense_bias = -1;  // the extra MLP's norm
  MlpPlaces dense;
};

}  // namespace saffron
