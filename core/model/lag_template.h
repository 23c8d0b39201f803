#pragma once
// Which tokens before a target make up a context: "1.2" is the bigram history (the last two
// tokens), "3" skips two, "2.3" is a pair that skips one.

#include <array>
#include <compare>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

namespace saffron {

// Lags strictly ascending; lag 1 is the token right before the target.
class LagTemplate {
 public:
  static constexpr int kLagsMax = 4;  // four ids of 16 bits fill a word
  static constexpr int kLagMax = 64;

  // "1.2.3". INVALID_ARGUMENT saying what is wanted.
  static absl::StatusOr<LagTemplate> Parse(std::string_view text);
  // (1, 2, ..., size): the histories of n-grams. 0 <= size <= kLagsMax; 0 is the root, the context
  // without tokens.
  static LagTemplate Chain(int size);

  int size() const { return static_cast<int>(lags_.size()); }
  int operator[](int i) const { return lags_[i]; }
  int last() const { return lags_.back(); }  // the oldest token; not of the root
  bool IsChain() const { return lags_.empty() || last() == size(); }
  // Without the oldest token: what a context backs off to.
  LagTemplate Parent() const;
  std::string Name() const;  // "1.2.3"; "" for the root

  // The context of target t: ids of 16 bits, the youngest token highest, the oldest lowest, so that
  // contexts in ascending order have their parents' order. t >= last().
  uint64_t ContextOf(const int32_t* stream, int64_t t) const {
    uint64_t context = 0;
    for (int lag : lags_) context = context << 16 | static_cast<uint16_t>(stream[t - lag]);
    return context;
  }

  friend auto operator<=>(const LagTemplate&, const LagTemplate&) = default;

 private:
  std::vector<int> lags_;
};

// Templates beside a chain, of a list such as "skip+2.4": "skip" stands for 2+3+4, "pair" for
// 1.3+2.3, "none" alone for no template. Ascending. INVALID_ARGUMENT saying what is wanted.
absl::StatusOr<std::vector<LagTemplate>> ParseTemplates(std::string_view text);

}  // namespace saffron
