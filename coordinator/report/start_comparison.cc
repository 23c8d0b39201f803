#include "coordinator/report/start_comparison.h"

#include <algorithm>
#include <limits>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "coordinator/report/statistics.h"

namespace saffron {
namespace {

constexpr char kInit[] = "train.init";
constexpr char kSteps[] = "train.steps";
constexpr char kRate[] = "train.lr";
constexpr double kRisk = 0.05;  // of calling chance a lead

bool StartsExplicitly(const StudyVariant& variant) {
  const auto init = variant.params.find(kInit);
  return init != variant.params.end() && ShortValue(init->second) == "explicit";
}
bool StartsRandomly(const StudyVariant& variant) {
  const auto init = variant.params.find(kInit);
  return init != variant.params.end() && ShortValue(init->second) == "random";
}
int64_t Steps(const StudyVariant& variant) {
  const auto steps = variant.params.find(kSteps);
  if (steps == variant.params.end()) return 0;
  const int64_t* value = std::get_if<int64_t>(&steps->second);
  return value ? *value : 0;
}
bool IsSolveKey(const std::string& key) { return absl::StartsWith(key, "solve."); }

// The parameters that must agree: all but those `ignored` says.
template <typename Ignored>
std::string Signature(const StudyVariant& variant, Ignored ignored) {
  std::string text;
  for (const auto& [key, value] : variant.params) {
    if (!ignored(key)) absl::StrAppend(&text, key, "=", ParamValueText(value), "\n");
  }
  return text;
}

// For each variant, how many of its solve.* values are the commonest ones of the study.
std::vector<int> SolveAgreement(const Study& study) {
  std::map<std::string, std::map<std::string, int>> counts;
  for (const StudyVariant& variant : study.variants) {
    for (const auto& [key, value] : variant.params) {
      if (IsSolveKey(key)) ++counts[key][ParamValueText(value)];
    }
  }
  std::map<std::string, std::string> commonest;
  for (const auto& [key, values] : counts) {
    int most = 0;
    for (const auto& [value, n] : values) {
      if (n > most) most = n, commonest[key] = value;
    }
  }
  std::vector<int> agreement;
  for (const StudyVariant& variant : study.variants) {
    int agreeing = 0;
    for (const auto& [key, value] : variant.params) {
      agreeing += IsSolveKey(key) && commonest[key] == ParamValueText(value);
    }
    agreement.push_back(agreeing);
  }
  return agreement;
}

bool IsComplete(const Study& study, const StudyVariant& variant) {
  return variant.Has(study.metric) && variant.Has(study.shown);
}

struct Side {
  std::vector<int> variants;

  // Keeps only those whose solve.* values agree most; of equal configurations but for these, the
  // first.
  void KeepTypical(const std::vector<int>& agreement) {
    int most = -1;
    for (const int i : variants) most = std::max(most, agreement[i]);
    std::erase_if(variants, [&](int i) { return agreement[i] < most; });
  }
  // The first with the best value of the metric.
  int Best(const Study& study) const {
    int best = variants.front();
    for (const int i : variants) {
      if (study.Better(study.variants[i].Mean(study.metric),
                       study.variants[best].Mean(study.metric))) {
        best = i;
      }
    }
    return best;
  }
  int Rates(const Study& study) const {
    std::map<std::string, int> rates;
    for (const int i : variants) {
      const auto rate = study.variants[i].params.find(kRate);
      if (rate != study.variants[i].params.end()) ++rates[ParamValueText(rate->second)];
    }
    return static_cast<int>(rates.size());
  }
};

}  // namespace

std::vector<StartPair> PairStarts(const Study& study, RateRule rule) {
  const std::vector<int> agreement = SolveAgreement(study);
  const auto ignored = [&](const std::string& key) {
    return key == kInit || IsSolveKey(key) || (rule == RateRule::kBest && key == kRate);
  };
  struct Group {
    Side explicit_side, random_side;
  };
  std::map<std::string, Group> groups;
  for (size_t i = 0; i < study.variants.size(); ++i) {
    const StudyVariant& variant = study.variants[i];
    if (Steps(variant) <= 0 || !IsComplete(study, variant)) continue;
    const bool is_explicit = StartsExplicitly(variant);
    if (!is_explicit && !StartsRandomly(variant)) continue;
    Group& group = groups[Signature(variant, ignored)];
    (is_explicit ? group.explicit_side : group.random_side).variants.push_back(static_cast<int>(i));
  }
  std::vector<StartPair> pairs;
  for (auto& [signature, group] : groups) {
    if (group.explicit_side.variants.empty() || group.random_side.variants.empty()) continue;
    group.explicit_side.KeepTypical(agreement);
    StartPair pair;
    if (rule == RateRule::kBest) {
      pair.explicit_variant = group.explicit_side.Best(study);
      pair.random_variant = group.random_side.Best(study);
    } else {
      pair.explicit_variant = group.explicit_side.variants.front();
      pair.random_variant = group.random_side.variants.front();
    }
    pair.explicit_rates = group.explicit_side.Rates(study);
    pair.random_rates = group.random_side.Rates(study);
    pair.steps = Steps(study.variants[pair.explicit_variant]);
    pairs.push_back(pair);
  }
  std::sort(pairs.begin(), pairs.end(), [](const StartPair& a, const StartPair& b) {
    return a.explicit_variant < b.explicit_variant;
  });
  return pairs;
}

StartTally Tally(const Study& study, const std::vector<StartPair>& pairs) {
  StartTally tally;
  std::vector<double> ratios, explicit_seconds, random_seconds;
  for (const StartPair& pair : pairs) {
    const StudyVariant& e = study.variants[pair.explicit_variant];
    const StudyVariant& r = study.variants[pair.random_variant];
    const Summary &ours = e.metrics.at(study.shown), &theirs = r.metrics.at(study.shown);
    ++tally.pairs;
    tally.explicit_wins += study.Better(ours.mean, theirs.mean);
    tally.random_wins += study.Better(theirs.mean, ours.mean);
    ratios.push_back(ours.mean / theirs.mean);
    // With the three seeds or so that roadmaps have, two standard errors would be too few: chance
    // alone passes them in more than one pair of ten.
    if (ours.n > 1 || theirs.n > 1) {
      tally.within_noise = std::max(tally.within_noise, 0) + !(WelchTest(ours, theirs) < kRisk);
    }
    if (e.Has("time/total_s")) explicit_seconds.push_back(e.Mean("time/total_s"));
    if (r.Has("time/total_s")) random_seconds.push_back(r.Mean("time/total_s"));
  }
  tally.median_ratio = Median(std::move(ratios));
  tally.p = SignTest(tally.explicit_wins, tally.random_wins);
  tally.explicit_seconds = Median(std::move(explicit_seconds));
  tally.random_seconds = Median(std::move(random_seconds));
  return tally;
}

std::vector<CatchUp> FindCatchUps(const Study& study) {
  const std::vector<int> agreement = SolveAgreement(study);
  const auto ignored = [](const std::string& key) {
    return absl::StartsWith(key, "train.") || IsSolveKey(key);
  };
  struct Group {
    Side untrained, random;
  };
  std::map<std::string, Group> groups;
  for (size_t i = 0; i < study.variants.size(); ++i) {
    const StudyVariant& variant = study.variants[i];
    if (!IsComplete(study, variant)) continue;
    const bool trained = Steps(variant) > 0;
    if (StartsExplicitly(variant) && !trained) {
      groups[Signature(variant, ignored)].untrained.variants.push_back(static_cast<int>(i));
    } else if (StartsRandomly(variant) && trained) {
      groups[Signature(variant, ignored)].random.variants.push_back(static_cast<int>(i));
    }
  }
  std::vector<CatchUp> found;
  for (auto& [signature, group] : groups) {
    if (group.untrained.variants.empty() || group.random.variants.empty()) continue;
    group.untrained.KeepTypical(agreement);
    CatchUp catch_up{.explicit_variant = group.untrained.variants.front(),
                     .best_random = group.random.Best(study),
                     .candidates = static_cast<int>(group.random.variants.size())};
    const double target = study.variants[catch_up.explicit_variant].Mean(study.shown);
    int64_t fewest = std::numeric_limits<int64_t>::max();
    for (const int i : group.random.variants) {
      const int64_t steps = Steps(study.variants[i]);
      catch_up.steps_tried = std::max(catch_up.steps_tried, steps);
      if (study.Better(target, study.variants[i].Mean(study.shown)) || steps >= fewest) continue;
      fewest = steps;
      catch_up.random_variant = i;
    }
    found.push_back(catch_up);
  }
  std::sort(found.begin(), found.end(), [](const CatchUp& a, const CatchUp& b) {
    if (a.candidates != b.candidates) return a.candidates > b.candidates;
    return a.explicit_variant < b.explicit_variant;
  });
  return found;
}

}  // namespace saffron
