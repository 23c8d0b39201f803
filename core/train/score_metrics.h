#pragma once
// A score as metrics.

#include <cmath>
#include <map>
#include <string>

#include "core/train/trial_model.h"

namespace saffron {

inline const char* SplitName(Split split) {
  return split == Split::kTrain ? "train" : split == Split::kValid ? "valid" : "test";
}

// Adds "NAME/nats_per_token" and what else the score says.
inline void AddScore(const std::string& name, const Score& score,
                     std::map<std::string, double>* metrics) {
  const std::string prefix = name + "/";
  (*metrics)[prefix + "nats_per_token"] = score.nats;
  (*metrics)[prefix + "perplexity"] = std::exp(score.nats);
  if (score.accuracy.has_value()) (*metrics)[prefix + "accuracy"] = *score.accuracy;
  if (score.bits_per_byte.has_value()) (*metrics)[prefix + "bits_per_byte"] = *score.bits_per_byte;
}

}  // namespace saffron
