#pragma once
// "Explicit or random start?" Pairs of variants that are equal but for how training starts.

#include <cstdint>
#include <vector>

#include "coordinator/report/study.h"

namespace saffron {

struct StartPair {
  int explicit_variant = 0, random_variant = 0;  // indices into Study::variants
  int64_t steps = 0;
  int explicit_rates = 1, random_rates = 1;  // learning rates that the choice was made from
};

enum class RateRule {
  kEqual,  // both train at one and the same learning rate
  kBest,   // each at the rate with its best value of the roadmap's own metric
};

// Pairs whose parameters agree in everything but `train.init`, the `solve.*` keys (which exist for
// one side only) and, under kBest, `train.lr`. Where several explicit variants would do, the one
// whose solve.* values are commonest in the study stands for them, so that the explicit side is not
// chosen from more tries. Variants without steps and without a value of `shown` or of the metric
// are left out. Ordered by explicit_variant.
std::vector<StartPair> PairStarts(const Study& study, RateRule rule);

// What a list of pairs says, judged by Study::shown.
struct StartTally {
  int pairs = 0, explicit_wins = 0, random_wins = 0;  // ties count in `pairs` alone
  // Leads that Welch's t test over the seeds does not confirm at 5 %; -1 when there are no
  // replicates.
  int within_noise = -1;
  double median_ratio = 0;                          // explicit / random
  double p = 1;                                     // sign test
  double explicit_seconds = 0, random_seconds = 0;  // medians of time/total_s
};
StartTally Tally(const Study& study, const std::vector<StartPair>& pairs);

// An explicit solution without any training, and the least training from a random start that does
// as well on otherwise the same model and data.
struct CatchUp {
  int explicit_variant = 0;
  int random_variant = -1;  // with the fewest steps among those that reach it; -1: none does
  int best_random = 0;      // the best one there is
  int64_t steps_tried = 0;  // most steps of a random variant that was tried
  int candidates = 0;
};
// Most candidates first.
std::vector<CatchUp> FindCatchUps(const Study& study);

}  // namespace saffron
