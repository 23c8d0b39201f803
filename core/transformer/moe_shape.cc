#include "core/transformer/moe_shape.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"

namespace saffron {
namespace {

constexpr int64_t kLeastCapacity = 4;

template <typename... Parts>
absl::Status Wrong(const Parts&... parts) {
  return absl::InvalidArgumentError(absl::StrCat(parts...));
}

absl::Status CheckFactor(const std::string& what, double factor, const MoeShape& moe,
                         int64_t context) {
  if (!(factor > 0) || !std::isfinite(factor)) {
    return Wrong(what, ": want a number above 0, got ", factor);
  }
  const double slots = static_cast<double>(context) * factor / moe.experts;
  if (slots >= 1) return absl::OkStatus();
  return Wrong(what, ": want at least one token an expert: ", factor, " of ", context,
               " tokens over ", moe.experts, " experts is ", slots,
               "; raise the factor or the context, or have fewer experts");
}

}  // namespace

int64_t ExpertCapacity(int64_t n, int experts, double factor) {
  const double share = std::floor(static_cast<double>(n) * factor / experts);
  // Compared as numbers: a huge factor means everybody.
  const int64_t slots = share >= static_cast<double>(n) ? n : static_cast<int64_t>(share);
  return std::max(slots, kLeastCapacity);
}

absl::Status CheckMoe(const std::string& name, const MoeShape& moe, int64_t context, bool causal) {
  if (moe.experts == 0) return absl::OkStatus();
  if (moe.experts < 2) return Wrong(name, "experts: want 0 or at least 2, got ", moe.experts);
  if (moe.top < 1 || moe.top > moe.experts) {
    return Wrong(name, "top: want 1 to ", moe.experts,
                 ", for a token chooses among that many experts; got ", moe.top);
  }
  for (const auto& [what, factor] : {std::pair{"capacity_factor", moe.capacity_factor},
                                     {"eval_capacity_factor", moe.eval_capacity_factor}}) {
    if (absl::Status status = CheckFactor(name + what, factor, moe, context); !status.ok()) {
      return status;
    }
  }
  if (!(moe.threshold > 0) || moe.threshold > 1) {
    return Wrong(name, "threshold: want a number above 0, at most 1, got ", moe.threshold);
  }
  if (causal && moe.slots == SlotOrder::kPriority) {
    return Wrong(name,
                 "slots: want token_major or choice_major, got priority: it gives slots to the "
                 "likeliest tokens of the whole sequence first, so that whether a token is dropped "
                 "would depend on tokens that a decoder has not seen");
  }
  return absl::OkStatus();
}

}  // namespace saffron
