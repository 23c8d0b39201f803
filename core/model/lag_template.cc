#include "core/model/lag_template.h"

#include <algorithm>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "core/base/check.h"

namespace saffron {

absl::StatusOr<LagTemplate> LagTemplate::Parse(std::string_view text) {
  const auto refuse = [&] {
    return absl::InvalidArgumentError(absl::StrCat("want 1 to ", kLagsMax,
                                                   " ascending lags from 1 to ", kLagMax,
                                                   ", as in 2 or 1.3, got ", std::string(text)));
  };
  LagTemplate parsed;
  for (absl::string_view part : absl::StrSplit(absl::string_view(text.data(), text.size()), '.')) {
    int lag = 0;
    const int least = parsed.lags_.empty() ? 1 : parsed.last() + 1;
    if (!absl::SimpleAtoi(part, &lag) || absl::StrCat(lag) != part || lag < least ||
        lag > kLagMax || parsed.size() == kLagsMax) {
      return refuse();
    }
    parsed.lags_.push_back(lag);
  }
  return parsed;
}

LagTemplate LagTemplate::Chain(int size) {
  CHECK(size >= 0 && size <= kLagsMax) << size;
  LagTemplate chain;
  for (int lag = 1; lag <= size; ++lag) chain.lags_.push_back(lag);
  return chain;
}

LagTemplate LagTemplate::Parent() const {
  CHECK(!lags_.empty()) << "the root has no parent";
  LagTemplate parent = *this;
  parent.lags_.pop_back();
  return parent;
}

std::string LagTemplate::Name() const { return absl::StrJoin(lags_, "."); }

absl::StatusOr<std::vector<LagTemplate>> ParseTemplates(std::string_view text) {
  std::vector<LagTemplate> templates;
  if (text == "none") return templates;
  const std::string expanded =
      absl::StrReplaceAll(std::string(text), {{"skip", "2+3+4"}, {"pair", "1.3+2.3"}});
  for (absl::string_view name : absl::StrSplit(expanded, '+')) {
    auto lags = LagTemplate::Parse(std::string_view(name.data(), name.size()));
    if (!lags.ok() || lags->IsChain()) {
      return absl::InvalidArgumentError(absl::StrCat(
          "want none, or skip, pair and lists of lags that skip a token, as in skip+1.2.4, got ",
          std::string(text)));
    }
    templates.push_back(*std::move(lags));
  }
  std::sort(templates.begin(), templates.end());
  if (std::adjacent_find(templates.begin(), templates.end()) != templates.end()) {
    return absl::InvalidArgumentError(
        absl::StrCat("want every template once, got ", std::string(text)));
  }
  return templates;
}

}  // namespace saffron
