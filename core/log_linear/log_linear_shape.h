#pragma once
// A log-linear language model: which evidence it has, and which gains weigh it.
//
//   z_i = log P_1(i) + sum_k ( lambda_{k,b} R_k[h_k, i] + mu_{k,b} [ (h_k, i) was seen ] )
//
// over keys k: templates of the tokens before the target, histories of its document, a column of
// token frequencies, and dense evidence (dense_tables.h), whose rows name every token. b is a class
// of how much text is behind the evidence. Log-linear interpolation of n-gram models is Klakow's
// ("Log-linear interpolation of language models", ICSLP 1998), skips and caches as its features
// Rosenfeld's ("A maximum entropy approach to adaptive statistical language modelling", 1996);
// evidence as Kneser-Ney residuals, so that gains of one are the Kneser-Ney model itself, is ours.

#include <bit>
#include <cstdint>
#include <string>
#include <vector>

#include "core/log_linear/residual_source.h"
#include "core/model/lag_template.h"
#include "core/solve/discounts.h"
#include "core/solve/saffu_spec.h"

namespace saffron {

enum class HistoryKind : uint8_t { kAll, kRecent, kFollowers };

struct LogLinearSpec {
  int order = 5;  // longest n-gram of the chain, 1 to 5; 1: no chain
  Discounts discounts = Discounts::kModified;
  std::vector<LagTemplate> templates;  // beside the chain, ascending, without repetition
  std::vector<HistoryKind> histories;  // ascending, without repetition
  int window = 200;                    // tokens of the recent history
  bool unigram = false;                // a column log(p_i / P_1(i))
  SaffuSolveSpec dense = {.streams = {}, .alpha = 1000};  // what DenseTables::Load reads of it
  bool seen_gains = false;                                // the mu
  bool gains_by_count = true;                             // else one class for each template
  bool calibrated = true;                                 // else gains stay at their prior
  bool refolded = true;  // count the hold-out once gains are fitted to it
  double gain_min = -1.5, gain_max = 3;
  double gain_prior = 20;  // tokens' worth of pull towards the prior
};

// Class of a context that was seen `total` times: edges 1, 2, 4, 8, 16, 64, 256, 1024, 8192.
inline constexpr int kCountClasses = 9;
inline int CountClass(int64_t total) {
  const int bits = std::bit_width(static_cast<uint64_t>(total));
  if (bits <= 4) return bits - 1;  // 1, 2-3, 4-7, 8-15
  if (bits <= 10) return (bits + 3) / 2;
  return bits <= 13 ? 7 : 8;
}

// A level whose contexts are looked up; parents stand before their children.
struct LevelNode {
  Level level;
  int parent = -1;  // index; -1: the root
  int lambda = -1;  // first of its gains, by count class; -1: only looked up for its children
  int mu = -1;      // likewise, -1 without seen gains
};

struct LogLinearShape {
  explicit LogLinearShape(const LogLinearSpec& spec);

  int ClassOf(int64_t total) const { return gains_by_count ? CountClass(total) : 0; }

  std::vector<LevelNode> nodes;
  std::vector<HistoryKind> histories;
  std::vector<int> history_gains;  // first gain of each: by class of type, or of count (followers)
  bool gains_by_count = true;
  int window = 0;
  int unigram_gain = -1;
  SaffuSolveSpec dense;
  std::vector<int> dense_gains;  // first gain of each dense key: by count class of its token
  int gains = 0;                 // how many
  std::vector<double> prior;     // [gains] 1 for the lambdas of the chain, 0.1, 0 for the mus
  std::vector<std::string>
      names;  // [gains] of the key: "1.2", "1.2_seen", "recent", "unigram", "c1"
};

}  // namespace saffron
