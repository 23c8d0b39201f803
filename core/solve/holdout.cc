#include "core/solve/holdout.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"

namespace saffron {

HoldoutRule HoldoutRule::For(int64_t tokens) {
  if (tokens < 2560) return {.block = std::max<int64_t>(1, tokens / 10), .every = 10};
  return {.block = 256, .every = tokens <= 200'000 ? 10 : 50};
}

std::vector<int32_t> HoldoutRule::Targets(int64_t tokens, int64_t most) const {
  std::vector<int32_t> all;
  for (int64_t start = every / 2 * block; start < tokens; start += every * block) {
    for (int64_t t = start; t < std::min(start + block, tokens); ++t) {
      all.push_back(static_cast<int32_t>(t));
    }
  }
  const int64_t size = static_cast<int64_t>(all.size());
  const int64_t stride = std::max<int64_t>(1, std::llround(static_cast<double>(size) / most));
  std::vector<int32_t> thinned;
  for (int64_t i = 0; i < size; i += stride) thinned.push_back(all[i]);
  return thinned;
}

std::string HoldoutRule::Key() const { return absl::StrCat(block, "x", every); }

}  // namespace saffron
