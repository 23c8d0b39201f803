#include "core/model/own_numerics.h"

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "core/base/numerics_version.h"

namespace saffron {
namespace {

using Params = std::map<std::string, ParamValue>;
constexpr char kPrefix[] = "numerics.", kBf16[] = "numerics.bf16";

}  // namespace

Params OwnNumerics(const Params& params) {
  const auto precision = params.find("train.precision");
  if (precision == params.end() || precision->second != ParamValue("bf16")) return {};
  return {{kBf16, int64_t{kBf16NumericsVersion}}};
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
  if (!ours.empty()) theirs.try_emplace(kBf16, int64_t{1});
  if (theirs == ours) return absl::OkStatus();
  const auto text = [](const Params& some) {
    return some.empty() ? std::string("none") : ParamValueText(some.begin()->second);
  };
  return absl::FailedPreconditionError(
      absl::StrCat((theirs.empty() ? ours : theirs).begin()->first, ": it was made for version ",
                   text(theirs), " of these numerics, this program computes by ", text(ours)));
}

}  // namespace saffron
