#include "core/model/own_numerics.h"

#include <algorithm>
#include <string>
#include <variant>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "core/base/numerics_version.h"
#include "core/model/lag_template.h"

namespace saffron {
namespace {

constexpr char kPrefix[] = "numerics.";

bool Is(const Params& params, const char* key, const ParamValue& value) {
  const auto found = params.find(key);
  return found != params.end() && found->second == value;
}

bool IsBf16(const Params& params) { return Is(params, "train.precision", "bf16"); }

bool HasSolvedReadout(const Params& params) {
  return Is(params, "solve.readout", "ridge") || Is(params, "solve.readout", "explicit");
}

// How many of the youngest tokens it has before it skips one.
int ChainOf(const LagTemplate& lags) {
  int chain = 0;
  while (chain < lags.size() && lags[chain] == chain + 1) ++chain;
  return chain;
}

bool LeavesOutBesideTheChain(const Params& params) {
  if (!Is(params, "model.type", "log_linear") || Is(params, "solve.refold", false)) return false;
  const auto order = params.find("model.order"), text = params.find("model.templates");
  if (order == params.end() || text == params.end()) return false;
  // Of a message, they may be anything.
  const auto* const longest = std::get_if<int64_t>(&order->second);
  const auto* const list = std::get_if<std::string>(&text->second);
  if (longest == nullptr || list == nullptr) return false;
  const auto templates = ParseTemplates(*list);
  if (!templates.ok()) return false;
  return std::any_of(templates->begin(), templates->end(), [longest](const LagTemplate& lags) {
    return ChainOf(lags) > 0 && ChainOf(lags) >= *longest - 1;
  });
}

struct OwnPart {
  const char* key;
  int version;
  bool (*is_used)(const Params& params);
};
constexpr OwnPart kParts[] = {
    {"numerics.bf16", kBf16NumericsVersion, &IsBf16},
    {"numerics.left_out", kLeftOutNumericsVersion, &LeavesOutBesideTheChain},
    {"numerics.readout", kReadoutNumericsVersion, &HasSolvedReadout},
};

}  // namespace

Params OwnNumerics(const Params& params) {
  Params own;
  for (const OwnPart& part : kParts) {
    if (part.is_used(params)) own[part.key] = int64_t{part.version};
  }
  return own;
}

absl::Status TakeOwnNumerics(Params* params) {
  const Params ours = OwnNumerics(*params);
  Params theirs;
  for (auto at = params->begin(); at != params->end();) {
    if (absl::StartsWith(at->first, kPrefix)) {
      theirs.insert(params->extract(at++));
    } else {
      ++at;
    }
  }
  for (const auto& [key, version] : ours) theirs.try_emplace(key, int64_t{1});
  for (const auto& [key, version] : theirs) {
    const auto found = ours.find(key);
    if (found != ours.end() && found->second == version) continue;
    return absl::FailedPreconditionError(
        absl::StrCat(key, ": it was made for version ", ParamValueText(version),
                     " of these numerics, this program computes by ",
                     found == ours.end() ? std::string("none") : ParamValueText(found->second)));
  }
  return absl::OkStatus();
}

}  // namespace saffron
